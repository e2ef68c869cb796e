"""Cross-entropy: the loss of learning, and the retain term of most unlearning methods."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals


def cross_entropy(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""The share of some sequences in a step's mean cross-entropy, in nats a token.

    .. math:: L = -\frac{1}{N} \sum_i \sum_t \log p_\theta(y_{i,t} \mid x_i, y_{i,<t})

    N is the number of labels of the whole step, so that the shares of its micro-batches add up to the mean.
    """
    return -torch.cat([own.log_probs for own in labels]).sum() / totals.labels


CROSS_ENTROPY = Card(
    name="cross_entropy",
    part="retain",
    title="Cross-entropy",
    formula="CE(r)",
    paper="Liu et al., arXiv 2203.12817",
    cost="one forward and one backward pass over the retain set",
    term=cross_entropy,
)
