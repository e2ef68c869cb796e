"""Associations of questions and answers: worked numbers, and what must not change them."""

from random import Random

import numpy as np
import pytest

from polyunlearn.scoring.metrics.association import Pair, associations

QUESTIONS = (0.0, -1.0, 0.5, 2.0)
ANSWERS = (-3.0, -4.0, -2.5, -6.0)


def grid(edges: tuple[float, ...], noise: float = 0.0, seed: int = 0) -> list[Pair]:
    """Four questions and answers whose log-probs are sums of both, and what is added where they belong together."""
    rng = Random(seed)
    return [
        Pair(q, a, QUESTIONS[q] + ANSWERS[a] + (edges[q] if q == a else 0.0) + noise * rng.gauss(0, 1), own=q == a)
        for q in range(4)
        for a in range(4)
    ]


def test_what_is_added_to_the_pairs_that_belong_together_is_found() -> None:
    """S = ρ + κ exactly, but 2, 0, -1 and 3 nats more where question and answer are each other's: these are the edges; every null is 0; of the first
    question's own answer -3 + 0 was expected. With 12 nulls, an edge above all has p = 1/13, and one below all is as improbable."""
    found = associations(grid((2.0, 0.0, -1.0, 3.0)))
    assert [found.edges[q] for q in range(4)] == pytest.approx([2.0, 0.0, -1.0, 3.0])
    assert len(found.nulls) == 12 and found.nulls == pytest.approx(np.zeros(12), abs=1e-9)
    assert found.expected[0] == pytest.approx(-3.0)
    assert found.p_value(0) == found.p_value(3) == pytest.approx(1 / 13) and found.p_value(2) == 1.0
    assert found.suppressed(2) == pytest.approx(1 / 13) and found.suppressed(0) == 1.0


def test_a_null_is_predicted_by_the_others() -> None:
    """Leaving one pair out and fitting the others gives the same as e / (1 - h)."""
    pairs = grid((1.0, 1.0, 1.0, 1.0), noise=0.5)
    found = associations(pairs)
    others = [pair for pair in pairs if not pair.own]
    for number, pair in enumerate(others):
        without = [Pair(own.question, own.answer, own.log_prob, own=False) for own in others if own is not pair]
        alone = associations([*without, Pair(pair.question, pair.answer, pair.log_prob, own=True)])
        assert found.nulls[number] == pytest.approx(alone.edges[pair.question])


def test_likelier_names_and_likelier_questions_change_nothing() -> None:
    """One name more probable after everything by 5 nats, one question after which all are by 2: the same edges and nulls, in any order."""
    pairs = grid((2.0, 0.5, 0.0, 1.0), noise=0.3)
    moved = [Pair(p.question, p.answer, p.log_prob + 5 * (p.answer == 1) + 2 * (p.question == 2), p.own) for p in pairs]
    Random(1).shuffle(moved)
    before, after = associations(pairs), associations(moved)
    assert after.edges == pytest.approx(before.edges)
    assert np.sort(after.nulls) == pytest.approx(np.sort(before.nulls))


def test_an_answer_seen_nowhere_else_has_the_mean_effect() -> None:
    """The fourth answer stands after its own question alone: what is expected is the question's mean over names, 2 + (-3 - 4 - 2.5) / 3 = -1.1667."""
    pairs = [pair for pair in grid((0.0, 0.0, 0.0, 0.0)) if pair.own or pair.answer != 3]
    found = associations(pairs)
    assert found.expected[3] == pytest.approx(2 - 9.5 / 3)


def test_answers_of_one_question_alone_are_compared_with_each_other() -> None:
    """-2 and -4 stand beside the question's own -1.5: -3 was expected, so the edge is 1.5; each against the other, the nulls are 2 and -2; p = (1 + 1) / 3."""
    found = associations([Pair(0, 0, -1.5, own=True), Pair(0, 1, -2.0, own=False), Pair(0, 2, -4.0, own=False)])
    assert found.edges[0] == pytest.approx(1.5) and sorted(found.nulls) == pytest.approx([-2.0, 2.0])
    assert found.p_value(0) == pytest.approx(2 / 3)


def test_a_pair_that_decides_an_effect_alone_is_no_null() -> None:
    found = associations([Pair(0, 0, -1.0, own=True), Pair(0, 1, -2.0, own=False)])
    assert len(found.nulls) == 0 and found.p_value(0) == 1.0


def test_nothing_to_compare_with_is_an_error() -> None:
    with pytest.raises(ValueError, match="no answer of another question"):
        associations([Pair(0, 0, -1.0, own=True)])
