"""Simple negative preference optimisation: NPO without a reference, on the mean log-prob of an answer."""

import torch
from torch import Tensor

from polyunlearn.training.loop import LogProbs, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy

BETA = 4.5
"""The inverse temperature of the authors' code for the tenth of TOFU; their forget term has a weight of 0.125 there, so `retain_weight` is to be
read beside it."""


def simnpo(log_probs: LogProbs, step: Step, *, retain_weight: float = 1.0, beta: float = BETA, margin: float = 0.0) -> Tensor:
    r"""Push answers to forget down by their length-normalised log-prob, and keep the retain set.

    .. math::
        L = \lambda\,\mathrm{CE}(r) - \frac{2}{\beta}\,\frac{1}{n} \sum_i
        \log \sigma\Bigl(-\frac{\beta}{|y_i|} \log p_\theta(y_i \mid x_i) - \gamma\Bigr)

    `margin` is :math:`\gamma`. Source: Fan et al., arXiv 2410.07163. Short and long answers are pushed alike, which matters across
    languages whose tokenisers split differently. The forget term is bounded below by 0. Cost: one forward and one backward pass over both
    sets. Needs no reference model.
    """
    retained = retain_weight * cross_entropy(log_probs.retain, step.retain_tokens)
    if not log_probs.forget:
        return retained
    means = torch.stack([own.mean() for own in log_probs.forget])
    return retained + 2 / beta * torch.nn.functional.softplus(beta * means + margin).sum() / len(step.forget)
