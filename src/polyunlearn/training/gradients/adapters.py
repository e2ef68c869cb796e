"""The gradient where every language has an adapter beside the weights that all share."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from polyunlearn.models.adapters import LanguageAdapters
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.training.gradients.parts import Gradient, add_gradient, forget_part, gradient_of, inner
from polyunlearn.training.loop import Backward, Step


def in_own_language(
    step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module, *, adapters: LanguageAdapters
) -> float:
    """The gradient of the loss, for which each sequence is read with its language's adapter in; that of a language which the step lacks is 0."""
    gradient, loss = gradient_of(step, _reading(backward, adapters), parameters)
    add_gradient(gradient, parameters)
    return loss


def meta_learned(
    step: Step,
    backward: Backward,
    parameters: Mapping[str, nn.Parameter],
    body: nn.Module,
    *,
    adapters: LanguageAdapters,
    reach: float,
    second_order: bool,
) -> float:
    r"""For the shared weights the gradient of the loss; for the adapters that of what is retained where a step of forgetting would take the shared ones.

    .. math:: \theta' = \theta - \beta \nabla_\theta L_f(\theta, \phi), \quad
        \nabla_\phi L_r(\theta', \phi) - \beta \nabla_\phi \nabla_\theta L_f(\theta, \phi) \cdot v, \quad v = \nabla_{\theta'} L_r(\theta', \phi)

    Thus an adapter is chosen so that a step of forgetting in its language hurts least what is retained in all of them (Wang, Lipton & Tsvetkov, arXiv
    2010.03017). What a step retains, which the virtual step does not see, takes the place of the paper's validation text. The virtual step is `reach` long,
    so :math:`\beta` is that over the length of its gradient, and counts as a constant.

    The second derivative is a central difference, as in DARTS (arXiv 1806.09055), over the same length:

    .. math:: \nabla_\phi \nabla_\theta L_f \cdot v \approx \frac{\nabla_\phi L_f(\theta + \epsilon v, \phi) - \nabla_\phi L_f(\theta - \epsilon v, \phi)}
        {2 \epsilon}, \quad \epsilon \lVert v \rVert = \text{reach}

    so it asks for no graph of a graph, and an answer that is let go (`training.loop.Part`) at one end alone weighs no more than its gradient. Without
    `second_order` it is left out, as in first-order MAML (arXiv 1703.03400). Beside a plain step it goes over what is retained once more, and over what is
    forgotten twice more with `second_order`; it holds two copies of the shared weights more. The loss is that of the step; the weights return to
    :math:`\theta` bit for bit.
    """
    own = adapters.parameters
    shared = {name: weight for name, weight in parameters.items() if name not in own}
    forget, retain = forget_part(step), Step(retain=step.retain)
    here, ahead = _reading(backward, adapters), _reading(backward, adapters, moved=True)
    gradient, loss = gradient_of(forget, here, parameters)
    forgetting = {name: gradient[name] for name in shared}
    length = _length(forgetting)
    with _moved(shared, forgetting, -reach / length if length > 0 else 0.0):
        chosen, _ = gradient_of(retain, ahead, parameters)
    hurt = {name: chosen.pop(name) for name in shared}
    felt = _length(hurt)
    if second_order and length > 0 and felt > 0:
        for sign in (1, -1):
            with _still(shared), _moved(shared, hurt, sign * reach / felt):
                gradient, _ = gradient_of(forget, ahead, own)
            for name in own:
                # β / 2ε, in which the reach of the two is the same.
                chosen[name].sub_(gradient[name], alpha=sign * felt / (2 * length))
    del hurt
    loss += here(retain)
    for name, weight in own.items():
        weight.grad = chosen[name]
    add_gradient(forgetting, shared)
    return loss


def _reading(backward: Backward, adapters: LanguageAdapters, *, moved: bool = False) -> Callable[[Step], float]:
    """A part of a step passed on language by language, each with its adapter in."""

    def read(part: Step) -> float:
        loss = 0.0
        for language in sorted({own.language for own in part.sequences}):
            with adapters.of(language):
                loss += backward(_told_in(language, part), moved=moved)
        return loss

    return read


def _told_in(language: str, part: Step) -> Step:
    """What of a step is in one language; an answer to give instead is in that of the one to forget."""
    forgotten = [own.language == language for own in part.forget]
    return Step(
        tuple(own for own in part.retain if own.language == language),
        tuple(own for own, told in zip(part.forget, forgotten, strict=True) if told),
        tuple(own for own, told in zip(part.instead, forgotten, strict=bool(part.instead)) if told),
    )


def _length(gradient: Gradient) -> float:
    return math.sqrt(inner(gradient, gradient))


@contextmanager
def _moved(weights: Mapping[str, nn.Parameter], along: Gradient, by: float) -> Iterator[None]:
    """While the weights are moved along a gradient; then they are where they were, bit for bit."""
    before = snapshot(weights)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.add_(along[name], alpha=by)
    try:
        yield
    finally:
        restore(weights, before)


@contextmanager
def _still(weights: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """While nobody asks for these weights' gradients, which costs memory and a third of a pass."""
    for weight in weights.values():
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights.values():
            weight.requires_grad_(True)
