"""Distance of hidden states from the reference's: the retain term of RMU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked


def hidden_states(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some sequences in a step's mean squared distance from the states of the reference.

    .. math:: L = \frac{1}{N} \sum_{i,t} \frac{1}{d} \lVert h_{i,t} - h^\mathrm{ref}_{i,t} \rVert^2

    h are the states of width d that predict the labels, as they leave the watched layer. No gradient reaches the layers above it.
    """
    return torch.cat([distance(asked(own.states), asked(asked(own.reference).states)) for own in labels]).sum() / totals.labels


def distance(states: Tensor, wanted: Tensor) -> Tensor:
    """The mean squared difference (labels,) of states (labels, width), in single precision at least: squares of half precision overflow."""
    exact = torch.promote_types(states.dtype, torch.float32)
    return (states.to(exact) - wanted.to(exact)).square().mean(1)


HIDDEN_STATES = Card(
    name="hidden_states",
    part="retain",
    title="Hidden states of the reference",
    formula="mean over labels of ||h - h_ref||² / width, at the watched layer",
    paper="Li et al., arXiv 2403.03218",
    cost="once, before the first step, a forward pass over the distinct texts to retain",
    term=hidden_states,
    needs=frozenset({"states", "reference_states"}),
)
