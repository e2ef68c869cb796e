"""UNDIAL: the model is taught its own former prediction, with the token to forget made improbable."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked

BETA = 10.0
"""How far (nats before the softmax) a label's logit is lowered in the target: the value of OpenUnlearning."""


def undial(labels: Sequence[Labels], totals: Totals, *, beta: float = BETA) -> Tensor:
    r"""Cross-entropy of the model with the reference's prediction after the logit of each label is lowered.

    .. math::
        L = -\frac{1}{N} \sum_{i,t} \sum_v q_{i,t}(v) \log p_\theta(v), \quad
        q_{i,t} = \mathrm{softmax}(z^\mathrm{ref}_{i,t} - \beta e_{y_{i,t}})

    The target never moves, so training converges to it. With `beta` 0 the reference is imitated as it is.
    """
    return torch.cat([_taught(own, beta) for own in labels]).sum() / totals.labels


def _taught(own: Labels, beta: float) -> Tensor:
    before = asked(asked(own.reference).logits)
    lowered = before.scatter_add(1, asked(own.targets)[:, None], torch.full_like(before[:, :1], -beta))
    return -(torch.softmax(lowered, dim=1) * torch.log_softmax(asked(own.logits), dim=1)).sum(1)


UNDIAL = Card(
    name="undial",
    part="forget",
    title="Self-distillation with adjusted logits",
    formula="CE of the model with softmax(z_ref - β at the label)",
    paper="Dong et al., arXiv 2402.10052",
    cost="without a retain term less: one forward and one backward pass over the forget set; once, a forward pass over its distinct answers",
    term=undial,
    needs=frozenset({"logits", "reference_logits"}),
    retain=None,
)
