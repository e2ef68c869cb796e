"""A claim beside the truth and beside other names: worked numbers, both directions, and what is no log-prob."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyunlearn.scoring.metrics.truth import (
    candidate_rank,
    log_truth_ratio,
    mean_reciprocal_rank,
    truth_ratio_forget,
    truth_ratio_retain,
    truth_score,
)

LOG_PROBS = st.floats(-500, 0)
LN2 = math.log(2)


def test_the_claims_share_by_hand() -> None:
    """Claim 1/2, truth 1/4: 1/2 / (3/4) = 2/3. The other way round 1/3."""
    assert truth_score(-LN2, -2 * LN2) == pytest.approx(2 / 3)
    assert truth_score(-2 * LN2, -LN2) == pytest.approx(1 / 3)


@given(claim=LOG_PROBS, truth=LOG_PROBS)
def test_the_shares_of_claim_and_truth_add_up(claim: float, truth: float) -> None:
    assert truth_score(claim, truth) + truth_score(truth, claim) == pytest.approx(1)
    assert 0 <= truth_score(claim, truth) <= 1


def test_the_share_of_what_is_all_but_impossible_is_a_number() -> None:
    assert truth_score(-5000.0, 0.0) == pytest.approx(0, abs=1e-300) and truth_score(0.0, -5000.0) == 1


def test_tofus_ratio_is_of_an_arithmetic_mean() -> None:
    """Answer 1/2, others 1/4 and 1/16: their mean is 5/32, so R = 5/16. The geometric mean, 1/8, would give 1/4.

    To forget: min(R, 1/R) = 5/16. To stay: 1 - R = 11/16.
    """
    others = [-2 * LN2, -4 * LN2]
    assert math.exp(log_truth_ratio(-LN2, others)) == pytest.approx(5 / 16)
    assert truth_ratio_forget(-LN2, others) == pytest.approx(5 / 16)
    assert truth_ratio_retain(-LN2, others) == pytest.approx(11 / 16)


def test_others_above_the_answer_count_in_one_direction_alone() -> None:
    """Answer 1/8, the other 1/2: R = 4. Avoiding the name is as telling as saying it: 1/4; as knowledge it is none: 0."""
    assert truth_ratio_forget(-3 * LN2, [-LN2]) == pytest.approx(1 / 4) and truth_ratio_retain(-3 * LN2, [-LN2]) == 0


@given(answer=LOG_PROBS, others=st.lists(LOG_PROBS, min_size=1, max_size=6), data=st.data())
def test_ratios_are_shares_and_know_no_order(answer: float, others: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(others))
    for ratio in (truth_ratio_forget, truth_ratio_retain):
        assert 0 <= ratio(answer, others) <= 1
        assert ratio(answer, shuffled) == pytest.approx(ratio(answer, others), abs=1e-9)
    assert truth_ratio_forget(answer, [answer] * len(others)) == pytest.approx(1)
    assert truth_ratio_retain(answer, [answer] * len(others)) == pytest.approx(0, abs=1e-9)


def test_ranks_by_hand() -> None:
    """-2 is behind -1 and level with the other -2: third of four. Of ranks 1, 3 and 2, the mean of 1, 1/3 and 1/2 is 11/18."""
    assert candidate_rank([-2.0, -1.0, -2.0, -3.0]) == 3
    assert candidate_rank([-1.0]) == 1
    assert mean_reciprocal_rank([[-1.0, -2.0], [-2.0, -1.0, -2.0, -3.0], [-2.0, -1.0]]) == pytest.approx(11 / 18)


def test_a_diverged_model_ranks_nothing_first() -> None:
    assert candidate_rank([math.nan, -1.0, -2.0]) == 3 and candidate_rank([-1.0, math.nan]) == 2


@given(scores=st.lists(st.floats(-50, 0), min_size=1, max_size=8))
def test_a_rank_is_one_more_than_who_would_stand_before(scores: list[float]) -> None:
    assert candidate_rank(scores) == sorted([(-own, at == 0) for at, own in enumerate(scores)]).index((-scores[0], True)) + 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1])
def test_what_is_no_log_prob_is_refused(value: float) -> None:
    for call in (lambda: truth_score(value, -1.0), lambda: truth_score(-1.0, value), lambda: log_truth_ratio(-1.0, [value])):
        with pytest.raises(ValueError, match=r"mean log-prob .* not"):
            call()


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one other"):
        truth_ratio_forget(-1.0, [])
    with pytest.raises(ValueError, match="at least one candidate"):
        candidate_rank([])
    with pytest.raises(ValueError, match="at least one question"):
        mean_reciprocal_rank([])
