"""Cross-entropy: the loss of learning, and the retain term of most unlearning methods."""

from collections.abc import Sequence

import torch
from torch import Tensor


def cross_entropy(log_probs: Sequence[Tensor], tokens: int) -> Tensor:
    r"""The share of one micro-batch in the step's mean cross-entropy, in nats a token.

    .. math:: L = -\frac{1}{N} \sum_i \sum_t \log p_\theta(y_{i,t} \mid x_i, y_{i,<t})

    Args:
        log_probs: per sequence, the log-probs of its labels, shape (labels,); with none the share is 0.
        tokens: N, the labels of the whole step, so that the shares of its micro-batches add up to the mean.
    """
    return -torch.cat(list(log_probs)).sum() / tokens if log_probs else torch.zeros(())
