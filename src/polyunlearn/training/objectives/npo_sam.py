"""NPO that also holds where the weights are moved a little: sharpness-aware minimisation of its loss."""

from polyunlearn.training.cards import POSITIVE, Card
from polyunlearn.training.gradients.sharpness import sharpness_aware
from polyunlearn.training.objectives.npo import npo

NPO_SAM = Card(
    name="npo_sam",
    part="forget",
    title="NPO with sharpness-aware minimisation",
    formula="NPO at θ + rho · g/‖g‖, g its gradient at θ; the retain term at θ",
    paper="Fan et al., arXiv 2502.05374",
    cost="as NPO, and a second forward and backward pass over the forget set; one more copy of the trained weights",
    term=npo,
    needs=frozenset({"reference"}),
    bounds={"beta": POSITIVE},
    rule=sharpness_aware,
    moves_weights=True,
)
