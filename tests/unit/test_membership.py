"""Membership scores and how well they tell texts apart: worked numbers, ties, the definition itself, and scikit-learn where it is there."""

import math
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_answer_metrics import ALPHABETS, written

from polyunlearn.scoring.metrics.membership import (
    auc,
    gradient_norm_score,
    loss_score,
    priv_leak,
    reference_score,
    tpr_at_fpr,
    zlib_score,
)
from polyunlearn.scoring.tokens import TokenTable

# Few values, so that there are ties.
SCORES = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]), min_size=1, max_size=30)


def table(*log_probs: float) -> TokenTable:
    values = torch.tensor(log_probs)
    return TokenTable(values, torch.zeros(len(log_probs), dtype=torch.long), torch.ones_like(values), torch.ones_like(values))


def test_scores_by_hand() -> None:
    """Log-probs -1, -2, -6: -3 a token. Under the reference -2, -4, -9, which is -5: 2 better. "aaaa" takes zlib 12 bytes or so."""
    assert loss_score(table(-1, -2, -6)) == pytest.approx(-3)
    assert reference_score(table(-1, -2, -6), table(-2, -4, -9)) == pytest.approx(2)
    assert zlib_score(table(-1, -2, -6), "aaaa") == pytest.approx(-3 / len(zlib.compress(b"aaaa")))


def test_a_gradients_length_is_over_all_parameters() -> None:
    """√(3² + 4² + 12²) = 13, whatever the shapes and the order."""
    parts = [torch.tensor([[3.0], [4.0]]), torch.tensor([12.0])]
    assert gradient_norm_score(parts) == gradient_norm_score(parts[::-1]) == pytest.approx(-13)


def test_tables_of_two_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 3 labels"):
        reference_score(table(-1, -2), table(-1, -2, -3))


@given(digits=st.text(alphabet="0123456789", min_size=40, max_size=80))
def test_zlib_is_biased_by_script_and_its_card_says_so(digits: str) -> None:
    """The same content takes Latin one byte a letter and Devanagari three: never fewer bytes, so the score is never further from 0."""
    from polyunlearn.scoring.metrics.suite import METRICS

    scores = {script: zlib_score(table(-1.0), written(digits, script)) for script in ALPHABETS}
    assert scores["Latn"] < scores["Deva"] < 0 and scores["Latn"] < scores["Hans"] < 0
    assert "within a script" in METRICS["zlib_score"].scripts


def test_auc_by_hand() -> None:
    """Members 3, 2, 2; others 2, 1. Of six pairs 3 > 2, 3 > 1, 2 > 1, 2 > 1 and two ties: (4 + 1) / 6."""
    assert auc([3, 2, 2], [2, 1]) == pytest.approx(5 / 6)
    assert auc([1], [0]) == 1 and auc([0], [1]) == 0 and auc([7, 7], [7, 7, 7]) == 0.5


@given(members=SCORES, others=SCORES)
def test_auc_is_its_definition(members: list[float], others: list[float]) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in members for b in others]
    assert auc(members, others) == pytest.approx(sum(pairs) / len(pairs))
    assert auc(members, others) + auc(others, members) == pytest.approx(1)
    assert auc([math.exp(own) for own in members], [math.exp(own) for own in others]) == pytest.approx(auc(members, others))


def test_tpr_by_hand() -> None:
    """Of 100 others scoring 0 … 99 one may be reached: the threshold lies above 98. Members 98, 99, 99.5, 200: three of four.

    With two of them at 99, one threshold lets both in or neither: it lies above 99, and two of four are left.
    """
    others = [float(own) for own in range(100)]
    assert tpr_at_fpr([98, 99, 99.5, 200], others) == pytest.approx(3 / 4)
    assert tpr_at_fpr([98, 99, 99.5, 200], [*others[:98], 99, 99]) == pytest.approx(2 / 4)


def test_fewer_than_a_hundred_others_let_none_through() -> None:
    """1 % of 99 is none: members must lie above every other text. Two thirds of three are two."""
    assert tpr_at_fpr([98.0, 98.5], [float(own) for own in range(99)]) == pytest.approx(1 / 2)
    assert tpr_at_fpr([0, 1, 2], [0, 1, 2], 2 / 3) == pytest.approx(2 / 3)


def test_a_share_that_rounding_spoils_is_whole() -> None:
    """0.29 · 100 is 28.999999999999996 in floating point; 29 of 100 may be reached."""
    assert tpr_at_fpr([71.0, 70.0], [float(own) for own in range(100)], 0.29) == pytest.approx(1 / 2)


@given(members=SCORES, others=SCORES, fpr=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_tpr_is_the_best_of_all_thresholds(members: list[float], others: list[float], fpr: float) -> None:
    thresholds = [*members, *others, math.inf]
    allowed = [own for own in thresholds if sum(other >= own for other in others) / len(others) <= fpr]
    best = max(sum(member >= own for member in members) / len(members) for own in allowed)
    assert tpr_at_fpr(members, others, fpr) == pytest.approx(1.0 if fpr == 1 else best)


@given(members=SCORES, others=SCORES)
def test_scikit_learn_agrees(members: list[float], others: list[float]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels, scores = [1] * len(members) + [0] * len(others), members + others
    assert auc(members, others) == pytest.approx(metrics.roc_auc_score(labels, scores))
    false, true, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    assert tpr_at_fpr(members, others, 0.1) == pytest.approx(max(t for f, t in zip(false, true, strict=True) if f <= 0.1))


def test_priv_leak_by_hand() -> None:
    """AUC 0.75 where gold has 0.5: half more. 0.25: half less. Gold 0.5 and 0.5: none."""
    assert priv_leak(0.75, 0.5) == pytest.approx(0.5) and priv_leak(0.25, 0.5) == pytest.approx(-0.5) and priv_leak(0.5, 0.5) == 0


def test_bad_input_is_refused() -> None:
    for call in (lambda: auc([], [1]), lambda: auc([1], []), lambda: tpr_at_fpr([1], [])):
        with pytest.raises(ValueError, match="no text on one side"):
            call()
    with pytest.raises(ValueError, match="NaN"):
        auc([math.nan], [1])
    with pytest.raises(ValueError, match=r"not 1\.5"):
        tpr_at_fpr([1], [1], 1.5)
    with pytest.raises(ValueError, match=r"not -0\.1"):
        priv_leak(-0.1, 0.5)
    with pytest.raises(ValueError, match="gold model's AUC is 0"):
        priv_leak(0.5, 0.0)
