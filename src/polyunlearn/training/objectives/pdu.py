"""Primal-dual unlearning (PDU): flatten the prediction of what is to forget, as far as the retain loss stays within a tolerance."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals, asked
from polyunlearn.training.loop import Dual

DUAL_RATE = 5.0
"""The authors' value for TOFU. The forget loss is a square of logits, in the hundreds at first, so a weight that can answer it has to grow
fast; theirs starts from 100 there, ours from `retain_weight`."""

TOLERANCE = 0.1
"""Nats a label: with the divergence from the reference, which begins at 0 whatever the model and language, a tenth more perplexity on what the
reference would write. The authors' bound on the cross-entropy has to be read off each model first: somewhat above what it starts from."""


def pdu(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some sequences in a step's mean squared margin of the highest logit, where the labels are predicted.

    .. math:: L = \frac{1}{N} \sum_{i,t} \Bigl(\max_v z_{i,t}(v) - \frac{1}{V} \sum_v z_{i,t}(v)\Bigr)^2

    0 where every token is as probable as any other. Which token is the label does not count.
    """
    margins = torch.cat([asked(own.logits).amax(1) - asked(own.logits).mean(1) for own in labels])
    return margins.square().sum() / totals.labels


def dual(*, dual_rate: float = DUAL_RATE, tolerance: float = TOLERANCE) -> Dual:
    r"""The weight :math:`\lambda` of the retain term, :math:`\lambda \leftarrow \max(0, \lambda + \eta (R - \epsilon))` after each step.

    R is the step's retain loss, `dual_rate` is :math:`\eta`, `tolerance` is :math:`\epsilon`.
    """
    return Dual(dual_rate, tolerance)


PDU = Card(
    name="pdu",
    part="forget",
    title="Primal-dual unlearning",
    formula="mean over labels of (max z - mean z)², with λ · R; λ ← max(0, λ + dual_rate · (R - tolerance)) after each step",
    paper="Entesari et al., arXiv 2506.05314",
    cost="that of its retain term",
    term=pdu,
    needs=frozenset({"logits"}),
    dual=dual,
    retain="kl",
    refuses={"none": "primal-dual unlearning bounds its retain loss, so it needs one; write pdu, or pdu+cross_entropy"},
)
