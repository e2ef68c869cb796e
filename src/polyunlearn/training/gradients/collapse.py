"""Collapse of irrelevant representations: what is common to everything that is forgotten is left out of the forget gradient."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from polyunlearn.models.body import Body
from polyunlearn.training.gradients.parts import forget_part, gradient_of, within
from polyunlearn.training.loop import Backward, Step

COMPONENTS = 4
"""Ours. The authors take dozens, of an epoch's texts; a step of questions has few tokens to forget, and where they are no more than the components
nothing is left of the gradient."""

NEGLIGIBLE = 1e-5
"""Directions whose length is below this share of the longest are rounding, and no direction."""


def collapsed(
    step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module, *, components: int = COMPONENTS
) -> float:
    r"""The forget gradient of each trained linear layer without common directions, and the retain gradient (Sondej and Yang, arXiv 2509.11816).

    .. math:: G_f = \sum_t g_t a_t^\top \;\to\; (I - V_g V_g^\top)\, G_f\, (I - V_a V_a^\top)

    :math:`a_t` enters the layer at token t, :math:`g_t` is the gradient of what leaves it. :math:`V_a` is an orthonormal basis of the mean of all
    :math:`a_t` of the step's forget sequences and of their first `components` principal components, :math:`V_g` the same of :math:`g_t`. The sum is over all
    micro-batches before anything is projected.

    Trained weights that are no linear layer's get no forget gradient: norms act on every token alike, and a bias is the weight of an input that
    is its own mean. `body` is searched for the linear layers that hold `parameters`.
    """
    layers = [module for module in body.modules() if isinstance(module, nn.Linear)]
    names = {id(weight): name for name, weight in parameters.items()}
    watched = {names[id(layer.weight)]: layer for layer in layers if id(layer.weight) in names}
    with _watched(watched, body) as seen:
        gradient, loss = gradient_of(forget_part(step), backward, parameters)
    for name, weight in parameters.items():
        if name not in seen or not seen[name].inputs:
            weight.grad = torch.zeros_like(weight)
            continue
        # In double precision, since inner products have only half the digits of the directions.
        inputs, outputs = (common(torch.cat(part).double(), int(components)) for part in (seen[name].inputs, seen[name].gradients))
        weight.grad = without(without(gradient[name].double(), inputs).T, outputs).T.to(weight.dtype).contiguous()
    return loss + backward(Step(retain=step.retain))


def common(vectors: Tensor, components: int) -> Tensor:
    """An orthonormal basis (width, at most 1 + components) of the mean and the first principal components of vectors (tokens, width)."""
    count, width = vectors.shape
    mean = vectors.mean(0, keepdim=True)
    centred = vectors - mean
    # Of the two matrices of inner products the smaller: a step of questions has fewer tokens than most layers have inputs.
    if count < width:
        _, places = torch.linalg.eigh(centred @ centred.T)
        principal = _last(places, components).T @ centred
    else:
        _, directions = torch.linalg.eigh(centred.T @ centred)
        principal = (centred @ _last(directions, components)).norm(dim=0)[:, None] * _last(directions, components).T
    found = torch.cat([mean * count**0.5, principal])
    lengths = found.norm(dim=1)
    kept = lengths > NEGLIGIBLE * lengths.max()
    # Principal components are at right angles to each other, the mean to none.
    basis: Tensor
    basis, triangle = torch.linalg.qr((found[kept] / lengths[kept, None]).flip(0).T)
    return basis[:, triangle.diagonal().abs() > NEGLIGIBLE]


def without(gradient: Tensor, basis: Tensor) -> Tensor:
    """A gradient (any, width) less what lies in the span of an orthonormal basis (width, directions)."""
    return gradient - within(gradient, basis)


def _last(columns: Tensor, count: int) -> Tensor:
    return columns[:, max(0, columns.shape[1] - count) :]


@dataclass
class _Seen:
    """What entered a linear layer at each token of the step, and the gradients of what left it, a micro-batch at a time."""

    inputs: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)


@contextmanager
def _watched(layers: Mapping[str, nn.Linear], body: nn.Module) -> Iterator[dict[str, _Seen]]:
    """What the layers of the body see of tokens, not of padding, while this lasts."""
    seen = {name: _Seen() for name in layers}

    def watching(own: _Seen) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            real = body.real if isinstance(body, Body) else None

            def tokens(states: Tensor) -> Tensor:
                return states.flatten(0, -2) if real is None else states[real.to(states.device)]

            own.inputs.append(tokens(inputs[0].detach()))
            output.register_hook(lambda gradient: own.gradients.append(tokens(gradient)))  # type: ignore[no-untyped-call]

        return watch

    hooks = [layer.register_forward_hook(watching(seen[name])) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
