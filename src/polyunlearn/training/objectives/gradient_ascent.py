"""Gradient ascent: the unlearning method of the base study, as published."""

from torch import Tensor

from polyunlearn.training.loop import LogProbs, Step
from polyunlearn.training.objectives.cross_entropy import cross_entropy


def gradient_ascent(log_probs: LogProbs, step: Step) -> Tensor:
    r"""Descend on the negated cross-entropy of the forget set: :math:`L = -\mathrm{CE}(f)`.

    Source: Jang et al., arXiv 2210.01504; used without a retain term by Lu & Koehn, arXiv 2406.13748. The loss has no lower bound, so
    the model collapses if it goes on: read real-information quality beside it. Cost: one forward and one backward pass over the
    forget set. Needs no reference model.
    """
    return -cross_entropy(log_probs.forget, step.forget_tokens)
