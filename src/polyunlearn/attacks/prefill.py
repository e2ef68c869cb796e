"""Prefill: the first tokens of the answer stand there already, and the rest is measured."""

from dataclasses import replace

from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion

GIVEN = (1, 2)
"""How many tokens stand there."""


def prefill(target: Target, measure: Measure) -> None:
    r"""Every candidate behind the first j tokens of its own: what is ranked is how surely each goes on from its own beginning.

    .. math:: \frac{1}{n_c - j} \sum_{t > j} \log p(c_t \mid q, c_{<t})

    Behind the claim's beginning other names would be impossible, and a model that knows no more than the claim's name would put it first after any
    question; so each has its own. `probability` and `loss` are those of the rest of the claim. Candidates of no more than j tokens are left out, and
    probes whose answer is such, or that nothing else is left to rank it among.
    """
    plain = list(zip(target.probes, ranked_questions(target.probes, target.loaded.encoder), strict=True))
    for given in GIVEN:
        asked = [(_left(probe, question, given), own) for probe, question in plain if (own := begun(question, given)) is not None]
        if asked:
            variant = Variant("the first token" if given == 1 else f"the first {given} tokens", given)
            measure(variant, target.loaded, [probe for probe, _ in asked], [own for _, own in asked])


def begun(question: RankedQuestion, given: int) -> RankedQuestion | None:
    """A question whose answers are given their first tokens; None where too little is left."""
    longer = tuple(candidate for candidate in question.candidates if len(candidate) > given)
    if len(question.candidates[0]) <= given or len(longer) < 2:
        return None
    return replace(question, candidates=longer, given=given)


def _left(probe: Probe, question: RankedQuestion, given: int) -> Probe:
    """The probe with the candidates that are longer."""
    longer = (name for name, own in zip(probe.candidates, question.candidates, strict=True) if len(own) > given)
    return replace(probe, candidates=tuple(longer))
