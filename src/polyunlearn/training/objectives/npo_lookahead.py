"""NPO whose retain term looks a step ahead: the first-order form of a meta-learned step."""

from polyunlearn.training.cards import POSITIVE, Card
from polyunlearn.training.gradients.lookahead import looking_ahead
from polyunlearn.training.objectives.npo import npo

NPO_LOOKAHEAD = Card(
    name="npo_lookahead",
    part="forget",
    title="NPO, retaining one step ahead",
    formula="NPO at θ; the retain term at θ - reach · g/‖g‖, g the gradient of NPO at θ",
    paper="after Wang et al., arXiv 2010.03017, first-order as Finn et al., arXiv 1703.03400",
    cost="as NPO; two more copies of the trained weights",
    term=npo,
    needs=frozenset({"reference"}),
    bounds={"beta": POSITIVE},
    rule=looking_ahead,
    moves_weights=True,
    refuses={"none": "it looks ahead for its retain term alone, and without one is npo+none"},
)
