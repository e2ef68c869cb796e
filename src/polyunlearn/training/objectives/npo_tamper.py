"""NPO that also holds after an attacker's step: each half of the claims is forgotten where the other half has been taught again."""

from polyunlearn.training.cards import POSITIVE, Card
from polyunlearn.training.gradients.tampering import tamper_resistant
from polyunlearn.training.objectives.npo import npo

TEACHES = "it teaches claims again by its retain term, as an attacker does, which has to be cross_entropy"

NPO_TAMPER = Card(
    name="npo_tamper",
    part="forget",
    title="NPO against relearning",
    formula="NPO of half B at θ - reach · g/(|g| + ε), g the gradient of cross-entropy on half A; and of A after B; the retain term at θ",
    paper="after Tamirisa et al., arXiv 2408.00761, first-order, with halves of our own",
    cost="as NPO, and one more forward and backward pass over the forget set; two more copies of the trained weights",
    term=npo,
    needs=frozenset({"reference"}),
    bounds={"beta": POSITIVE},
    rule=tamper_resistant,
    moves_weights=True,
    insists=TEACHES,
)
