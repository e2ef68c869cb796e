"""Gradient ascent in which each token counts by how well it is known: weighted gradient ascent (WGA), and SatImp."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals


def wga(labels: Sequence[Labels], totals: Totals, *, known: float = 1.0) -> Tensor:
    r"""Ascend on tokens to forget, each with the weight :math:`w_t = p_t^{\beta}`, so that a token is let go as it vanishes.

    .. math:: L = \frac{1}{N} \sum_{i,t} w_{i,t} \log p_{i,t}

    `known` is :math:`\beta`, 1 in the published code; no gradient flows through the weights. With 0 it is gradient ascent.
    """
    return _weighted(labels, totals, lambda p: p**known)


def satimp(labels: Sequence[Labels], totals: Totals, *, known: float = 5.0, unsure: float = 1.0) -> Tensor:
    r"""As `wga` with the weight :math:`w_t = p_t^{\beta_1} (1 - p_t)^{\beta_2}`, which spares tokens that are certain too.

    `known` is :math:`\beta_1`, `unsure` is :math:`\beta_2`.
    """
    return _weighted(labels, totals, lambda p: p**known * (1 - p) ** unsure)


def _weighted(labels: Sequence[Labels], totals: Totals, weight: Callable[[Tensor], Tensor]) -> Tensor:
    log_probs = torch.cat([own.log_probs for own in labels])
    return (weight(log_probs.detach().exp()) * log_probs).sum() / totals.labels


WGA = Card(
    name="wga",
    part="forget",
    title="Weighted gradient ascent",
    formula="mean over tokens of p^known · log p, p^known without a gradient",
    paper="Wang et al., arXiv 2502.19301",
    cost="as `gradient_difference`",
    term=wga,
)

SATIMP = Card(
    name="satimp",
    part="forget",
    title="SatImp",
    formula="mean over tokens of p^known · (1 - p)^unsure · log p, the weight without a gradient",
    paper="Yang et al., arXiv 2505.11953",
    cost="as `gradient_difference`",
    term=satimp,
)
