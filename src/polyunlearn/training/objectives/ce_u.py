"""CE-U: the model is taught its own prediction with the token to forget left out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked


def ce_u(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""Cross-entropy of the model with its own prediction among all tokens but the label.

    .. math::
        L = -\frac{1}{N} \sum_{i,t} \sum_v q_{i,t}(v) \log p_\theta(v), \quad
        q_{i,t} = \mathrm{softmax}(z_{i,t} \text{ with } -\infty \text{ at } y_{i,t})

    No gradient flows through q. The gradient at a label's logit is its probability: bounded, and gone as the label is. Every label counts,
    the first of an answer too.
    """
    return torch.cat([_without_label(own) for own in labels]).sum() / totals.labels


def _without_label(own: Labels) -> Tensor:
    logits = asked(own.logits)
    others = torch.softmax(logits.detach().scatter(1, asked(own.targets)[:, None], -torch.inf), dim=1)
    return -(others * torch.log_softmax(logits, dim=1)).sum(1)


CE_U = Card(
    name="ce_u",
    part="forget",
    title="Cross-entropy unlearning",
    formula="CE of the model with softmax(z, -∞ at the label), which has no gradient",
    paper="Yang, arXiv 2503.01224",
    cost="without a retain term less: one forward and one backward pass over the forget set",
    term=ce_u,
    needs=frozenset({"logits"}),
    retain=None,
)
