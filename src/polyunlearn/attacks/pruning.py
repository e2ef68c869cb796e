"""Pruning: the smallest weights set to zero, as a model is to run faster."""

from functools import partial

from torch import Tensor

from polyunlearn.attacks.matrices import measure_changed
from polyunlearn.attacks.target import Measure, Target, Variant

SHARES = (0.1, 0.2, 0.3)
"""Of each row's weights."""


def pruned(weight: Tensor, share: float) -> Tensor:
    """A matrix (outputs, inputs) without the `share` of each row's weights that are smallest in size, rounded down to whole weights."""
    count = int(weight.shape[1] * share)
    smallest = weight.abs().topk(count, dim=1, largest=False).indices
    return weight.scatter(1, smallest, 0.0)


def pruning(target: Target, measure: Measure) -> None:
    """Prune every matrix of every layer; embeddings and norms stay."""
    measure_changed(target, measure, [(Variant(f"{share:.0%} of each row", share), partial(pruned, share=share)) for share in SHARES])
