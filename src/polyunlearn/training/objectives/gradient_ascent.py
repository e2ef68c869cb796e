"""Gradient ascent, the method of the base study as published, and gradient difference, which keeps a retain set beside it."""

from collections.abc import Sequence

from torch import Tensor

from polyunlearn.training.cards import Card
from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.objectives.cross_entropy import cross_entropy


def gradient_ascent(labels: Sequence[Labels], totals: Totals) -> Tensor:
    r"""Descend on the negated cross-entropy of the forget set: :math:`L = -\mathrm{CE}(f)`.

    The loss has no lower bound, so the model collapses if it goes on: read real-information quality beside it.
    """
    return -cross_entropy(labels, totals)


GRADIENT_ASCENT = Card(
    name="gradient_ascent",
    part="forget",
    title="Gradient ascent",
    formula="-CE(f)",
    paper="Jang et al., arXiv 2210.01504; without a retain term in Lu & Koehn, arXiv 2406.13748",
    cost="without a retain term less: one forward and one backward pass over the forget set",
    term=gradient_ascent,
    retain=None,
)

GRADIENT_DIFFERENCE = Card(
    name="gradient_difference",
    part="forget",
    title="Gradient difference",
    formula="-CE(f), with CE(r)",
    paper="Liu et al., arXiv 2203.12817",
    cost="one forward and one backward pass over both sets",
    term=gradient_ascent,
    refuses={"none": "gradient difference without a retain term is gradient_ascent"},
)
