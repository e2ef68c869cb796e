"""Objectives that compare an answer with what it was, or with another: NPO, SimNPO."""

import pytest
from handmade_labels import FORGET, FORGOTTEN, REFERENCE, gradients, labels

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
