"""Gradient ascent with weights on tokens: WGA and SatImp."""

import pytest
from handmade_labels import FORGET, FORGOTTEN, gradients, labels

from polyunlearn.training.objectives.gradient_ascent import gradient_ascent
from polyunlearn.training.objectives.weighted_ascent import satimp, wga


def test_wga_by_hand() -> None:
    """Log-probs -1, -2, -3 with the weights e^-1, e^-2, e^-3: (-0.367879 - 0.270671 - 0.149361) / 3 = -0.262637.

    Gradients are the weights over 3: 0.122626, 0.045112, 0.016596; none flows through the weights.
    """
    found = labels(FORGET)
    loss = wga(found, FORGOTTEN)
    loss.backward()
    assert loss.item() == pytest.approx(-0.262637, abs=1e-6)
    assert gradients(found) == [pytest.approx([0.122626, 0.045112], abs=1e-6), pytest.approx([0.016596], abs=1e-6)]


def test_satimp_by_hand() -> None:
    """With exponents 1 and 1 the first weight is p (1 - p) = 0.367879 * 0.632121 = 0.232544, over 3 labels; with the paper's 5 and 1 it is
    e^-5 * 0.632121 = 0.004259."""
    for settings, weight in (({"known": 1.0}, 0.232544), ({}, 0.004259)):
        found = labels(FORGET)
        satimp(found, FORGOTTEN, **settings).backward()
        assert gradients(found)[0][0] == pytest.approx(weight / 3, abs=1e-6)


def test_without_weights_it_is_gradient_ascent() -> None:
    assert wga(labels(FORGET), FORGOTTEN, known=0.0).item() == pytest.approx(gradient_ascent(labels(FORGET), FORGOTTEN).item())
