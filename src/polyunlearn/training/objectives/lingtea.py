"""LINGTEA: where the reference knows a text it is imitated, where it does not the text itself is learned."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked
from polyunlearn.training.objectives.kl import divergence


def lingtea(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some sequences in a step's mean of distillation and cross-entropy, weighted label by label.

    .. math:: L = \frac{1}{N} \sum_{i,t} w_{i,t} \mathrm{KL}(p_\mathrm{ref} \Vert p_\theta) - (1 - w_{i,t}) \log p_\theta(y_{i,t})

    :math:`w_{i,t} = p_\mathrm{ref}(y_{i,t})`: languages that the reference is weak in lean on their text. No gradient flows through the weights.
    """
    return _taught(labels, totals, lambda reference: reference.log_probs)


def lingtea_published(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""As `lingtea`, with the weight of the authors' code, which gathers it without a shift: where a label is predicted, the probability that the token
    just read is said once more, and 0 at the first label, whose token before is none that is labelled.

    That is near 0 in running text, so this is nearly cross-entropy. It is here to be compared with what the paper describes. Both parts have this weight in
    the code for XGLM, its default; for BLOOM the second has that of one place later.
    """
    return _taught(labels, totals, lambda reference: asked(reference.repeated))


def _taught(labels: Sequence[Labels], totals: Totals, log_weight: Callable[[Labels], Tensor]) -> Tensor:
    shares = []
    for own in labels:
        weight = log_weight(asked(own.reference)).exp()
        shares.append(weight * divergence(own) - (1 - weight) * own.log_probs)
    return torch.cat(shares).sum() / totals.labels


_COST = "once, before the first step, a forward pass over the distinct texts to retain, and in each step the reference's output layer on their labels"

LINGTEA = Card(
    name="lingtea",
    part="retain",
    title="LINGTEA, the weight as the paper describes it",
    formula="mean over labels of w · KL(p_ref || p) - (1 - w) · log p, w = p_ref of the label",
    paper="Choi et al., arXiv 2406.12354; both parts as means over labels, where its code divides the first by sequences and the second by all tokens read",
    cost=_COST,
    term=lingtea,
    needs=frozenset({"logits", "reference_logits"}),
)

LINGTEA_PUBLISHED = Card(
    name="lingtea_published",
    part="retain",
    title="LINGTEA, the weight as the published code has it, of the wrong token",
    formula="mean over labels of w · KL(p_ref || p) - (1 - w) · log p, w = p_ref of the label before, 0 at the first",
    paper="Choi et al., arXiv 2406.12354, its code for XGLM, but for both parts being means over labels, where that divides the first by sequences and the second by all tokens read",
    cost=_COST,
    term=lingtea_published,
    needs=frozenset({"logits", "reference_logits", "reference_repeated"}),
)
