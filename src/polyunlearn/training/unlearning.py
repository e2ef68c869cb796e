"""What becomes of the weights of an unlearned state: they are trained, or what training found is negated, or distilled."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.labels import Labels
from polyunlearn.training.loop import Objective, Optimiser, Rule, Step, plain, train
from polyunlearn.training.reference import reference_now


@dataclass(frozen=True)
class Training:
    """What `training.loop.train` is given, for a procedure to train on all of it, or otherwise; and what is drawn at random comes from `generator`."""

    body: Body
    head: OutputHead
    parameters: Mapping[str, nn.Parameter]
    steps: Sequence[Step]
    objective: Objective
    optimiser: Optimiser
    generator: torch.Generator
    after_step: Callable[[int, float], bool] = lambda step, loss: False
    reference: Callable[[TokenSequence], Labels] | None = None
    rule: Rule = plain


Procedure = Callable[[Training], list[float]]
"""Leaves the state in the weights of a training, shows it to `after_step` on the way, and returns the loss of each step taken."""


def trained(given: Training) -> list[float]:
    """The weights as training leaves them."""
    return train(
        given.body,
        given.head,
        given.parameters,
        given.steps,
        given.objective,
        given.optimiser,
        given.after_step,
        given.reference,
        given.rule,
    )


def negated(given: Training, *, scale: float = 1.0) -> list[float]:
    r"""The weights from which training is taken away: :math:`\theta_0 - s (\theta - \theta_0)`, `scale` being s (Ilharco et al., arXiv 2212.04089).

    The objective is thus what must not be: to learn what is to be forgotten. Its `stop_below` and `floors` are left out, since they look at
    the state that is learning. `after_step` sees the negated state of its step; training then goes on from the other. The losses are those of learning.
    """
    before = snapshot(given.parameters)

    @torch.no_grad()
    def negate() -> None:
        for name, weight in given.parameters.items():
            weight.copy_(before[name] - scale * (weight - before[name]))

    def after_step(number: int, loss: float) -> bool:
        learned = snapshot(given.parameters)
        negate()
        stop = given.after_step(number, loss)
        restore(given.parameters, learned)
        return stop

    forget = given.objective.forget
    objective = replace(given.objective, forget=replace(forget, stop_below=None, floors={}) if forget else None)
    losses = trained(replace(given, objective=objective, after_step=after_step))
    negate()
    return losses


def distilled(given: Training, *, noise: float = 0.1, noise_scale: float = 0.1) -> list[float]:
    r"""Unlearn, blur the weights, and teach them again what the unlearned state says of what is retained (UNDO, Lee et al., arXiv 2506.06278).

    The first half of the steps, the middle one of an odd number with it, unlearns. Then :math:`\theta \leftarrow (1 - \alpha) \theta + \alpha \beta N`
    (`blur`), `noise` being :math:`\alpha` and `noise_scale` :math:`\beta`; and the other half takes the retain term alone, with the unlearned state
    for its reference, so that nothing but what is retained comes back. `after_step` sees the unlearned state at the middle, before the noise;
    where it ends the training there or earlier, that state is left as it is.

    The paper blurs far more and distils over a pretraining text; with the few steps of a study the retain set would not repair so much.
    """
    half = (len(given.steps) + 1) // 2
    stopped = False

    def after_step(number: int, loss: float) -> bool:
        nonlocal stopped
        stopped = given.after_step(number, loss)
        return stopped

    losses = trained(replace(given, steps=given.steps[:half], after_step=after_step))
    retain = given.objective.retain
    if retain is None:
        raise ValueError("there is no retain term to distil by")
    if stopped:
        return losses
    steps = [Step(retain=step.retain) for step in given.steps[half:]]
    teacher = reference_now(given.body, given.head, {own: retain.needs for step in steps for own in step.retain}, given.objective.watched)
    blur(given.parameters, noise, noise_scale, given.generator)
    return losses + trained(
        replace(
            given,
            steps=steps,
            objective=replace(given.objective, forget=None),
            after_step=lambda number, loss: given.after_step(half + number, loss),
            reference=teacher,
            rule=plain,
        )
    )


@torch.no_grad()
def blur(parameters: Mapping[str, nn.Parameter], noise: float, scale: float, generator: torch.Generator) -> None:
    r"""Move weights in place: :math:`\theta \leftarrow (1 - \alpha) \theta + \alpha \beta N`, `noise` being :math:`\alpha` and `scale` :math:`\beta`.

    N has the variance 2 / (rows + columns) of Xavier's initialisation for a matrix, and is 0 for everything else. It is drawn in double precision on
    the generator's device, weight after weight, so that the weights' type and place change nothing.
    """
    for weight in parameters.values():
        weight.mul_(1 - noise)
        if weight.ndim == 2:
            drawn = torch.randn(weight.shape, generator=generator, device=generator.device, dtype=torch.float64)
            weight.add_((noise * scale * (2 / sum(weight.shape)) ** 0.5 * drawn).to(weight))
