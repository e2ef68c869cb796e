"""Divergence from the reference: a retain term that keeps the whole prediction, not the label alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked


def kl(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some sequences in a step's mean divergence from the reference, in nats a label.

    .. math:: L = \frac{1}{N} \sum_{i,t} \sum_v p_\mathrm{ref}(v) \log \frac{p_\mathrm{ref}(v)}{p_\theta(v)}

    Over labels alone: a prompt is given, so what the model would have written in its place is not asked for. At least 0, and 0 with a
    gradient of 0 at the reference.
    """
    return torch.cat([divergence(own) for own in labels]).sum() / totals.labels


def divergence(own: Labels) -> Tensor:
    """KL(reference || model) at each label, (labels,) in nats."""
    before = torch.log_softmax(asked(asked(own.reference).logits), dim=1)
    return (before.exp() * (before - torch.log_softmax(asked(own.logits), dim=1))).sum(1)


KL = Card(
    name="kl",
    part="retain",
    title="KL divergence from the reference",
    formula="mean over labels of KL(p_ref || p)",
    paper="Maini et al., arXiv 2401.06121",
    cost="once, before the first step, a forward pass over the distinct texts to retain, and in each step the reference's output layer on their labels",
    term=kl,
    needs=frozenset({"logits", "reference_logits"}),
)
