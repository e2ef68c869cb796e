"""How much more probable an answer is after its own question than chance would make it: a test that needs no second model."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

LEVERAGE = 1 - 1e-6
"""Of a pair that alone decides its question's or its answer's effect, so that nothing is left to compare it with."""


@dataclass(frozen=True)
class Pair:
    """An answer after a question, by their numbers: its mean log-prob (nats a token), and whether it is the question's own, which is what is tested,
    or one that belongs elsewhere."""

    question: int
    answer: int
    log_prob: float
    own: bool


@dataclass(frozen=True)
class Associations:
    """`edges`: by question, how far its own answer lies above what the question and the answer lead one to expect, in nats a token. `nulls`: the same of
    every pair that does not belong together. `expected`: by question, what was expected of its own answer. `fitted`: the questions whose own answer stands after enough others to have an effect of
    its own; an edge of any other holds how likely its answer is after anything, and says nothing."""

    edges: dict[int, float]
    nulls: Values
    expected: dict[int, float]
    fitted: frozenset[int]

    def p_value(self, question: int) -> float:
        r"""The chance that a pair which does not belong together has as large an edge: :math:`(1 + \#\{null \ge edge\}) / (1 + \#null)`, never 0."""
        return float(1 + (self.nulls >= self.edges[question]).sum()) / (1 + len(self.nulls))

    def suppressed(self, question: int) -> float:
        """The chance that such a pair lies as far below: small where unlearning has made the answer conspicuously improbable."""
        return float(1 + (self.nulls <= self.edges[question]).sum()) / (1 + len(self.nulls))


def associations(pairs: Sequence[Pair]) -> Associations:
    r"""Fit what question and answer do apart, and see what is left of the pairs that belong together.

    .. math:: S_{qa} = \mu + \rho_q + \kappa_a + \varepsilon_{qa}

    is fitted by least squares to the pairs that do not belong together; :math:`\kappa` takes out that some names are likelier after anything,
    :math:`\rho` that after some questions everything is. An edge is :math:`\varepsilon` of an own pair; the nulls are those of the others, each against
    the fit without it (:math:`e / (1 - h)`, h its leverage), so that both kinds are predicted from outside. An answer that stands after fewer than two other questions has no :math:`\kappa`, and a pair
    that its question's effect hangs on alone is no null.

    Raises:
        ValueError: where no pair is another's.
    """
    others = [pair for pair in pairs if not pair.own]
    if not others:
        raise ValueError("there is no answer of another question to compare with")
    questions = {number: at for at, number in enumerate(sorted({pair.question for pair in pairs}))}
    counts = Counter(pair.answer for pair in others)
    answers = {number: at + len(questions) for at, number in enumerate(sorted(own for own, count in counts.items() if count > 1))}
    mean = float(np.mean([pair.log_prob for pair in others]))
    design = np.zeros((len(others), len(questions) + len(answers)))
    for row, pair in enumerate(others):
        design[row, questions[pair.question]] = 1.0
        if pair.answer in answers:
            design[row, answers[pair.answer]] = 1.0
    values = np.array([pair.log_prob for pair in others]) - mean
    inverse = np.linalg.pinv(design)
    effects = inverse @ values
    leverage = np.einsum("ij,ji->i", design, inverse)
    left = values - design @ effects
    # Questions and answers could share a constant in any way; an answer without an effect of its own has the mean of those that have one.
    if answers:
        shift = float(effects[len(questions) :].mean())
        effects[len(questions) :] -= shift
        effects[: len(questions)] += shift
    free = leverage < LEVERAGE
    nulls = left[free] / (1 - leverage[free])
    own_effects = {pair.question: float(effects[answers[pair.answer]]) if pair.answer in answers else 0.0 for pair in pairs if pair.own}
    expected = {question: mean + float(effects[questions[question]]) + effect for question, effect in own_effects.items()}
    edges = {pair.question: pair.log_prob - expected[pair.question] for pair in pairs if pair.own}
    fitted = frozenset(pair.question for pair in pairs if pair.own and pair.answer in answers)
    return Associations(edges, nulls, expected, fitted)
