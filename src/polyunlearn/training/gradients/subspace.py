"""Forgetting through a subspace of the states alone: what all languages share, or what tells them apart."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from polyunlearn.models.hooks import at_layers
from polyunlearn.training.gradients.parts import forget_part, within
from polyunlearn.training.loop import Backward, Step


def within_subspace(
    step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module, *, bases: Sequence[Tensor]
) -> float:
    r"""The retain gradient, and the forget gradient as far as it goes through given subspaces of the states.

    `bases` has an orthonormal basis (width, rank) a layer, from the first. On its way back the forget loss's gradient for the states that leave a layer
    is :math:`g \leftarrow B B^\top g`, so a weight is moved only by what it does to the states there. The weights' own spaces are left alone: a norm may stand
    between a matrix and the states that it adds to, as in Gemma 3. The loss is that of the step.
    """

    def watch(number: int, states: Tensor) -> None:
        if states.requires_grad:
            basis = bases[number].to(states)
            states.register_hook(lambda gradient: within(gradient, basis))  # type: ignore[no-untyped-call]

    with at_layers(body.model, watch):
        loss = backward(forget_part(step))
    return loss + backward(Step(retain=step.retain))
