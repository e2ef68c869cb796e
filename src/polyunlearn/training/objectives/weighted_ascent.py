"""Gradient ascent in which each token counts by how well it is known: weighted gradient ascent (WGA), and SatImp."""

import torch
from torch import Tensor

from polyunlearn.training.loop import LogProbs, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy


def weighted_ascent(log_probs: LogProbs, step: Step, *, retain_weight: float = 1.0, known: float = 1.0, unsure: float = 0.0) -> Tensor:
    r"""Keep the retain set while ascending on tokens to forget, each with the weight :math:`w_t = p_t^{\beta_1} (1 - p_t)^{\beta_2}`.

    .. math:: L = \lambda\,\mathrm{CE}(r) + \frac{1}{N_f} \sum_{i,t} w_{i,t} \log p_{i,t}

    `known` is :math:`\beta_1`, `unsure` is :math:`\beta_2`; no gradient flows through the weights. With :math:`\beta_2 = 0` it is WGA (Wang et
    al., arXiv 2502.19301; the exponent 1 of its published code), which lets a token go as it vanishes; with :math:`\beta_1 = 5, \beta_2 = 1`
    it is SatImp (Yang et al., arXiv 2505.11953), which spares those that are certain too. With both 0 it is gradient difference. Cost: one
    forward and one backward pass over both sets. Needs no reference model.
    """
    retained = retain_weight * cross_entropy(log_probs.retain, step.retain_tokens)
    if not log_probs.forget:
        return retained
    own = torch.cat(list(log_probs.forget))
    probabilities = own.detach().exp()
    weights = probabilities**known * (1 - probabilities) ** unsure
    return retained + (weights * own).sum() / step.forget_tokens
