"""The Jensen-Shannon divergence from what the model said before, as a retain term: symmetric, and bounded for every label."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked


def jensen_shannon(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some sequences in a step's mean divergence of the next-token distributions from the reference's, in nats a label.

    .. math::
        L = \frac{1}{N} \sum_{i,t} \tfrac12 \mathrm{KL}(p_\theta \,\|\, m) + \tfrac12 \mathrm{KL}(p_\mathrm{ref} \,\|\, m), \qquad
        m = \tfrac12 (p_\theta + p_\mathrm{ref})

    Distributions are over all columns of the output layer, at each label given what precedes it. 0, with a gradient of zero, at the
    reference; at most ln 2.
    """
    return torch.cat([divergence(_distributions(own), _distributions(asked(own.reference))) for own in labels]).sum() / totals.labels


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """The Jensen-Shannon divergences (...,), in nats, of distributions given as finite log-probs (..., columns)."""
    middle = torch.logaddexp(one, other) - math.log(2)
    return (one.exp() * (one - middle) + other.exp() * (other - middle)).sum(-1) / 2


def _distributions(own: Labels) -> Tensor:
    return torch.log_softmax(asked(own.logits), 1)


JENSEN_SHANNON = Card(
    name="jensen_shannon",
    part="retain",
    title="Jensen-Shannon divergence from the reference",
    formula="JSD(p, p_ref) of next-token distributions, mean over tokens of r",
    paper="Singh et al., arXiv 2509.02820",
    cost="once, before the first step, a forward pass over the distinct texts to retain, and in each step the reference's output layer on their labels",
    term=jensen_shannon,
    needs=frozenset({"logits", "reference_logits"}),
)
