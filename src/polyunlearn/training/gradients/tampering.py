"""Forgetting where an attacker would lead: what is forgotten of some claims after others have been taught again."""

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from polyunlearn.errors import UserError
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.gradients.collapse import COMPONENTS, collapsed
from polyunlearn.training.gradients.parts import Gradient, add_gradient, gradient_of
from polyunlearn.training.loop import Backward, Rule, Step, plain

EPSILON = 1e-8
"""AdamW's own: a weight without a gradient does not move."""


def tamper_resistant(
    step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module, *, reach: float = 2e-4
) -> float:
    r"""The forget gradient of each half of the answers where the other half has been taught again, and the retain gradient where the weights are.

    .. math:: \sum_{(A, B)} \nabla L_f^B\Bigl(\theta - \beta \frac{\nabla L_r^A(\theta)}{|\nabla L_r^A(\theta)| + \epsilon}\Bigr) + \nabla L_r(\theta)

    over both ways to name the halves; :math:`L_r^A`, the retain term on what is to be forgotten, is what an attacker trains, and the quotient, weight by
    weight, is AdamW's first step, whatever its rate: `reach` is :math:`\beta`, how far it moves each weight. After the tamper-resistant training of
    Tamirisa et al. (arXiv 2408.00761), first-order and with one step of the attacker, whose claims are not those that are looked at: that relearning some
    brings back the others is what an owner fears. One answer alone is its own other half. Whether an answer is let go (`training.loop.Part`) is decided
    where its forget gradient is taken: one that comes back with the others is not gone; what is taught again is taught however well it is known. What is
    left in a language (`training.weighting`) is read off while it is taught, at :math:`\theta`. The loss is that of the places where the gradients are
    taken; the weights return to :math:`\theta` bit for bit.
    """
    return _after_tampering(step, backward, parameters, body, reach, plain)


def tamper_resistant_collapse(
    step: Step,
    backward: Backward,
    parameters: Mapping[str, nn.Parameter],
    body: nn.Module,
    *,
    reach: float = 2e-4,
    components: int = COMPONENTS,
) -> float:
    """As `tamper_resistant`, with what is common to a half's tokens left out of its forget gradient (`gradients.collapse`)."""
    return _after_tampering(step, backward, parameters, body, reach, partial(collapsed, components=components))


def _after_tampering(
    step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module, reach: float, forgetting: Rule
) -> float:
    halves = step.forget[::2], step.forget[1::2] or step.forget[::2]
    pairs = (halves, halves[::-1]) if len(step.forget) > 1 else (halves,) if step.forget else ()
    if pairs and not step.retain:
        raise UserError(
            "a method that teaches claims again measures that by what a step retains, which is nothing: set retain_batch to 1 or more"
        )
    before, loss = snapshot(parameters), 0.0
    forgotten: Gradient = {}
    there = partial(backward, moved=True)
    for taught, asked in pairs:
        relearned, _ = gradient_of(Step(retain=taught), backward, parameters)
        if not any(bool(own.any()) for own in relearned.values()):
            raise UserError("a method that teaches claims again does so by its retain term, which has no weight: set retain_weight above 0")
        with torch.no_grad():
            for name, weight in parameters.items():
                move = relearned.pop(name)
                weight.sub_(move / (move.abs() + EPSILON), alpha=reach)
        gradient, share = gradient_of(Step(forget=asked), lambda half: forgetting(half, there, parameters, body), parameters)
        restore(parameters, before)
        loss += share
        forgotten = {name: own + forgotten[name] if name in forgotten else own for name, own in gradient.items()}
    loss += backward(Step(retain=step.retain))
    add_gradient(forgotten, parameters)
    return loss
