"""Negative preference optimisation: each answer is pushed down until it is improbable beside what it was, and then let go."""

import torch
from torch import Tensor

from polyunlearn.training.loop import LogProbs, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy

BETA = 0.1
"""The inverse temperature of the paper."""


def npo(log_probs: LogProbs, step: Step, *, retain_weight: float = 1.0, beta: float = BETA) -> Tensor:
    r"""Treat every answer to forget as the rejected one of a preference pair, and keep the retain set.

    .. math::
        L = \lambda\,\mathrm{CE}(r) - \frac{2}{\beta}\,\frac{1}{n} \sum_i
        \log \sigma\Bigl(-\beta \log \frac{p_\theta(y_i \mid x_i)}{p_\mathrm{ref}(y_i \mid x_i)}\Bigr)

    :math:`p(y_i \mid x_i)` is the probability of the whole answer, and `beta` goes to gradient ascent as it goes to 0. Source: Zhang et
    al., arXiv 2404.05868, with the retain term that they call NPO + RT. The forget term is bounded below by 0. Cost: one forward and one
    backward pass over both sets, and one forward pass over the distinct answers to forget before the first step; no reference model stays
    in memory.
    """
    retained = retain_weight * cross_entropy(log_probs.retain, step.retain_tokens)
    if not log_probs.forget:
        return retained
    ratios = [own.sum() - before.sum() for own, before in zip(log_probs.forget, log_probs.reference, strict=True)]
    return retained + 2 / beta * torch.nn.functional.softplus(beta * torch.stack(ratios)).sum() / len(step.forget)
