"""Objectives that compare an answer with what it was, or with another: NPO, SimNPO, DPO; and IDK, which learns the other alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from handmade_labels import FORGET, FORGOTTEN, REFERENCE, gradients, labels

from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.objectives import get_method
from polyunlearn.training.objectives.dpo import dpo, idk
from polyunlearn.training.objectives.npo import npo
from polyunlearn.training.objectives.simnpo import simnpo


def test_npo_by_hand() -> None:
    """Log-ratios of -3 + 1 = -2 and -3 + 4 = 1; with beta 0.5, ln(1 + e^-1) = 0.313262 and ln(1 + e^0.5) = 0.974077.

    2 / 0.5 * (0.313262 + 0.974077) / 2 = 2.574678. A token's gradient is its answer's, 2 / 2 * s(-1) = 0.268941 and s(0.5) = 0.622459: the
    answer that has not fallen is pushed more.
    """
    found = labels(FORGET, REFERENCE)
    loss = npo(found, FORGOTTEN, beta=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(2.574678, abs=1e-6)
    assert gradients(found) == [pytest.approx([0.268941, 0.268941], abs=1e-6), pytest.approx([0.622459], abs=1e-6)]


def test_npo_begins_at_its_constant_and_tends_to_gradient_ascent() -> None:
    """At the reference itself each answer costs 2 / beta * ln 2 = 13.862944 with beta 0.1; with beta near 0 the gradient of every answer is 1 / n."""
    assert npo(labels(FORGET, FORGET), FORGOTTEN).item() == pytest.approx(13.862944, abs=1e-6)
    found = labels(FORGET, REFERENCE)
    npo(found, FORGOTTEN, beta=1e-6).backward()
    assert gradients(found) == [pytest.approx([0.5, 0.5]), pytest.approx([0.5])]


def test_simnpo_by_hand() -> None:
    """Means of -1.5 and -3; with beta 2 and a margin of 1, ln(1 + e^(-3 + 1)) = 0.126928 and ln(1 + e^(-6 + 1)) = 0.006715.

    2 / 2 * (0.126928 + 0.006715) / 2 = 0.066822. A token's gradient is 2 s(-2) / 2 answers / 2 labels = 0.059601 and 2 s(-5) / 2 / 1 =
    0.006693: a longer answer is pushed as much in all as a short one that is as probable a token.
    """
    found = labels(FORGET)
    loss = simnpo(found, FORGOTTEN, beta=2.0, margin=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.066822, abs=1e-6)
    assert gradients(found) == [pytest.approx([0.059601, 0.059601], abs=1e-6), pytest.approx([0.006693], abs=1e-6)]


INSTEAD = ([-1.0], [-2.0, -2.0])
"""The answers to give instead, of 1 and 2 labels."""

INSTEAD_REFERENCE = ([-2.0], [-1.5, -1.0])
"""What they were worth before: -2 and -2.5 in all, where now they are worth -1 and -4."""

TOTALS = Totals(sequences=2, labels=3, instead=3)


def _pairs(
    forget: Sequence[Sequence[float]] = FORGET,
    before: Sequence[Sequence[float]] = REFERENCE,
    instead: Sequence[Sequence[float]] = INSTEAD,
    instead_before: Sequence[Sequence[float]] = INSTEAD_REFERENCE,
) -> tuple[list[Labels], list[Labels]]:
    """The answers to forget with those to give instead, and these again."""
    others = labels(instead, instead_before)
    return [replace(own, instead=other) for own, other in zip(labels(forget, before), others, strict=True)], others


def test_dpo_by_hand() -> None:
    """Log-ratios of -2 and 1 to forget, of 1 and -1.5 instead: margins of 3 and -2.5.

    With beta 0.5, (ln(1 + e^-1.5) + ln(1 + e^1.25)) / 2 = (0.201413 + 1.501929) / 2 = 0.851671. An answer's gradient is beta / 2 s(-beta margin):
    s(-1.5) / 4 = 0.045606 and s(1.25) / 4 = 0.194325 for each token to forget, and the same with the other sign for each instead: the pair in
    the wrong order is pushed more.
    """
    found, others = _pairs()
    loss = dpo(found, TOTALS, beta=0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0.851671, abs=1e-6)
    assert gradients(found) == [pytest.approx([0.045606, 0.045606], abs=1e-6), pytest.approx([0.194325], abs=1e-6)]
    assert gradients(others) == [pytest.approx([-0.045606], abs=1e-6), pytest.approx([-0.194325, -0.194325], abs=1e-6)]


def test_dpo_begins_at_ln_2_on_the_papers_scale() -> None:
    """At the reference a pair costs ln 2 = 0.693147, not 2 / beta times that; with beta 0.1 a token's gradient is 0.1 s(0) / 2 = 0.025."""
    found, others = _pairs(FORGET, FORGET, INSTEAD, INSTEAD)
    loss = dpo(found, TOTALS)
    loss.backward()
    assert loss.item() == pytest.approx(0.693147, abs=1e-6)
    assert gradients(found) == [pytest.approx([0.025, 0.025]), pytest.approx([0.025])]
    assert gradients(others) == [pytest.approx([-0.025]), pytest.approx([-0.025, -0.025])]


def test_dpo_sees_the_margin_alone() -> None:
    """Both answers of the first pair a nat less probable, now or under the reference: the same loss. Only the one instead more so: a lower one."""
    expected = dpo(_pairs()[0], TOTALS).item()
    both_sink = _pairs(forget=([-1.5, -2.5], [-3.0]), instead=([-2.0], [-2.0, -2.0]))[0]
    references_sink = _pairs(before=([-1.0, -1.0], [-4.0]), instead_before=([-3.0], [-1.5, -1.0]))[0]
    assert dpo(both_sink, TOTALS).item() == pytest.approx(expected)
    assert dpo(references_sink, TOTALS).item() == pytest.approx(expected)
    better = _pairs(instead=([-0.5], [-2.0, -2.0]))[0]
    assert dpo(better, TOTALS).item() < expected


def test_dpo_against_answers_that_stay_is_npo_on_another_scale() -> None:
    """Where the answers to give instead stay as they were, DPO is NPO without its factor of 2 / beta."""
    found = _pairs(instead=INSTEAD_REFERENCE)[0]
    assert dpo(found, TOTALS, beta=0.5).item() == pytest.approx(npo(found, TOTALS, beta=0.5).item() / 4)


def test_idk_by_hand() -> None:
    """(1 + 2 + 2) / 3 labels of the refusals = 1.666667, not over those to forget; -1/3 a label, and no push on the answers to forget."""
    found, others = _pairs()
    loss = idk(found, Totals(sequences=2, labels=30, instead=3))
    loss.backward()
    assert loss.item() == pytest.approx(1.666667, abs=1e-6)
    assert gradients(others) == [pytest.approx([-1 / 3]), pytest.approx([-1 / 3, -1 / 3])]
    assert all(own.log_probs.grad is None for own in found)


def test_which_answer_is_given_instead() -> None:
    wanted = {name: get_method(name).forget.instead for name in ("dpo", "idk_dpo", "idk", "jensun")}
    assert wanted == {"dpo": "truth", "idk_dpo": "refusal", "idk": "refusal", "jensun": "refusal"}
    assert get_method("dpo").forget.term is get_method("idk_dpo").forget.term is dpo
