"""CIR that also holds after an attacker's step: each half of the claims is forgotten where the other half has been taught again."""

from polyunlearn.training.cards import Card
from polyunlearn.training.gradients.tampering import tamper_resistant_collapse
from polyunlearn.training.objectives.cir import CIR
from polyunlearn.training.objectives.gradient_ascent import gradient_ascent
from polyunlearn.training.objectives.npo_tamper import TEACHES

CIR_TAMPER = Card(
    name="cir_tamper",
    part="forget",
    title="Collapse of irrelevant representations, against relearning",
    formula="CIR of half B at θ - reach · g/(|g| + ε), g the gradient of cross-entropy on half A; and of A after B; the retain term at θ",
    paper="Sondej and Yang, arXiv 2509.11816, after Tamirisa et al., arXiv 2408.00761, first-order, with halves of our own",
    cost="as CIR, and one more forward and backward pass over the forget set; two more copies of the trained weights",
    term=gradient_ascent,
    rule=tamper_resistant_collapse,
    moves_weights=True,
    insists=TEACHES,
    refuses_adapters=CIR.refuses_adapters,
)
