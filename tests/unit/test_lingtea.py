"""LINGTEA: the retain term that imitates the reference where it is sure, and its published form."""

from dataclasses import replace
from math import log

import pytest
import torch
from handmade_labels import of_logits
from torch import Tensor
from whole_sequences import at_labels

from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.objectives.lingtea import lingtea, lingtea_published


def _own(repetition: float) -> Labels:
    """The reference says 1/4 and 3/4, the model 1/2 and 1/2, and the label is the second."""
    own = of_logits([[0.0, 0.0]], [1], [[log(0.25), log(0.75)]])
    assert own.reference is not None
    return replace(own, reference=replace(own.reference, repetition=torch.tensor([log(repetition)], dtype=torch.float64)))


def _slope(own: Labels) -> list[float]:
    assert own.logits is not None and own.logits.grad is not None
    return own.logits.grad[0].tolist()


def test_lingtea_by_hand() -> None:
    """w = 0.75; KL = 0.25 ln 0.5 + 0.75 ln 1.5 = -0.173287 + 0.304099 = 0.130812, CE = ln 2 = 0.693147.

    0.75 * 0.130812 + 0.25 * 0.693147 = 0.271396. The gradient is w (p - p_ref) + (1 - w) (p - one-hot) =
    0.75 (0.25, -0.25) + 0.25 (0.5, -0.5) = (0.3125, -0.3125): none flows through the weight.
    """
    own = _own(0.1)
    loss = lingtea([own], Totals(1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(0.271396, abs=1e-6) and _slope(own) == pytest.approx([0.3125, -0.3125])


def test_lingtea_published_by_hand() -> None:
    """w = 0.1, the repetition's: 0.0130812 + 0.9 * 0.693147 = 0.636914; the gradient 0.1 (0.25, -0.25) + 0.9 (0.5, -0.5) = (0.475, -0.475)."""
    own = _own(0.1)
    loss = lingtea_published([own], Totals(1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(0.636914, abs=1e-6) and _slope(own) == pytest.approx([0.475, -0.475])


IDS = (0, 1, 2, 0)
SURE = 6.0
"""A reference that counts up: after each token it is all but sure of the next, e^6 to 1 to 1, so that its labels have 0.995067."""


def _counting() -> Tensor:
    return torch.tensor([[SURE if column == (token + 1) % 3 else 0.0 for column in range(3)] for token in IDS], dtype=torch.float64)


def test_lingtea_weighs_with_the_label_where_its_published_code_is_one_place_late() -> None:
    """At the reference itself the divergence is 0, and what is left is (1 - w) CE with CE = 0.004945.

    Of what it is all but sure of, the paper's term asks nothing more: w = 0.995067 leaves 0.0000244. The label's probability gathered without the
    shift is that of being said twice, 0.002467, and leaves nearly the whole cross-entropy. `lingtea_published` is that form.
    """
    before = _counting()
    own = at_labels(before, IDS, 1, before)
    assert own.reference is not None
    unshifted = torch.log_softmax(before, 1).gather(1, torch.tensor(IDS)[:, None])[:, 0]
    own = replace(own, reference=replace(own.reference, repetition=unshifted[1:]))

    def peer() -> float:
        return float(((1 - unshifted[1:].exp()) * -own.log_probs).mean())

    assert peer() == pytest.approx(0.004945 * (1 - 0.002467), abs=1e-6)
    assert lingtea_published([own], Totals(1, 3)).item() == pytest.approx(peer())
    assert lingtea([own], Totals(1, 3)).item() == pytest.approx(0.0000244, abs=1e-7)
