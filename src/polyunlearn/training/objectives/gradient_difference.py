"""Gradient difference: gradient ascent on the forget set with cross-entropy on a retain set."""

from torch import Tensor

from polyunlearn.training.loop import LogProbs, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy


def gradient_difference(log_probs: LogProbs, step: Step, *, retain_weight: float = 1.0) -> Tensor:
    r"""Keep the retain set while ascending on the forget set: :math:`L = \lambda\,\mathrm{CE}(r) - \mathrm{CE}(f)`.

    With `retain_weight` :math:`\lambda = 1` it is the published form. Each term is a mean over its own tokens. Source: Liu et
    al., arXiv 2203.12817. The forget term has no lower bound. Cost: one forward and one backward pass over both sets. Needs no reference model.
    """
    return retain_weight * cross_entropy(log_probs.retain, step.retain_tokens) - cross_entropy(log_probs.forget, step.forget_tokens)
