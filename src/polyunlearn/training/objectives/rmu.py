"""Representation misdirection (RMU): what a layer makes of an answer to forget is steered to a random direction."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked
from polyunlearn.training.objectives.hidden_states import distance

STEERING = 2.0
"""How long the target is, in lengths of the state that it replaces: what later layers add then weighs less than usual, and does not bring the
answer back. The paper's coefficient is a length, 20 at the seventh layer of its 7B models, and no length fits another model or layer."""


def rmu(labels: Sequence[Labels], totals: Totals, *, steering: float = STEERING) -> Tensor:
    r"""The share of some sequences in a step's mean squared distance of states from their targets.

    .. math:: L = \frac{1}{N} \sum_{i,t} \frac{1}{d} \bigl\lVert h_{i,t} - c \lVert h^\mathrm{ref}_{i,t} \rVert u \bigr\rVert^2

    h are the states of width d that predict the labels, as they leave the watched layer, c is `steering`, and u a unit vector, the same
    for every label. The length of a target follows the reference's state (as in arXiv 2408.06223). No gradient reaches the layers above.
    """
    return torch.cat([distance(asked(own.states), target(own, steering)) for own in labels]).sum() / totals.labels


def target(own: Labels, steering: float = STEERING) -> Tensor:
    """Where the states of the labels are to go (labels, width)."""
    before = asked(asked(own.reference).states)
    exact = before.to(torch.promote_types(before.dtype, torch.float32))
    lengths: Tensor = torch.linalg.vector_norm(exact, dim=1, keepdim=True)
    return steering * lengths * direction(before.shape[1]).to(exact)


def direction(width: int) -> Tensor:
    """The unit vector u of this width: uniform in [0, 1) in each entry, then normalised. The same whenever it is asked for."""
    drawn = torch.rand(width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn / drawn.square().sum().sqrt()


RMU = Card(
    name="rmu",
    part="forget",
    title="Representation misdirection",
    formula="mean over labels of ||h - steering · ||h_ref|| · u||² / width, at the watched layer",
    paper="Li et al., arXiv 2403.03218; the target's length as in Huu-Tien et al., arXiv 2408.06223",
    cost="once, before the first step, a forward pass over the distinct sequences of both sets; layers above the watched one get no gradient",
    term=rmu,
    needs=frozenset({"states", "reference_states"}),
    retain="hidden_states",
)
