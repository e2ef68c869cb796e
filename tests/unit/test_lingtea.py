"""LINGTEA: the retain term that imitates the reference where it is sure, and its published form."""

from dataclasses import replace
from math import log

import pytest
import torch
from handmade_labels import of_logits
from torch import Tensor
from whole_sequences import at_labels, drawn

from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.objectives.lingtea import lingtea, lingtea_published


def _own(repeated: float) -> Labels:
    """The reference says 1/4 and 3/4, the model 1/2 and 1/2, and the label is the second."""
    own = of_logits([[0.0, 0.0]], [1], [[log(0.25), log(0.75)]])
    assert own.reference is not None
    return replace(own, reference=replace(own.reference, repeated=torch.tensor([log(repeated)], dtype=torch.float64)))


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
    """w = 0.1, that of the label before: 0.0130812 + 0.9 * 0.693147 = 0.636914; the gradient 0.1 (0.25, -0.25) + 0.9 (0.5, -0.5) = (0.475, -0.475)."""
    own = _own(0.1)
    loss = lingtea_published([own], Totals(1, 1))
    loss.backward()
    assert loss.item() == pytest.approx(0.636914, abs=1e-6) and _slope(own) == pytest.approx([0.475, -0.475])


IDS = (0, 1, 2, 0)
SURE = 6.0
"""A reference that counts up: after each token it is all but sure of the next, e^6 to 1 to 1, so that its labels have 0.995067."""


def _counting() -> Tensor:
    return torch.tensor([[SURE if column == (token + 1) % 3 else 0.0 for column in range(3)] for token in IDS], dtype=torch.float64)


def test_lingtea_weighs_with_the_label_where_its_published_code_takes_the_one_before() -> None:
    """At the reference itself the divergence is 0, and what is left is (1 - w) CE with CE = 0.004945.

    Of what it is all but sure of, the paper's term asks nothing more: w = 0.995067 leaves 0.0000244. The label's probability gathered without the
    shift is that of the label before, said once more, 0.002467 (of the first label 0), and leaves nearly the whole cross-entropy:
    0.004945 (1 - 2/3 * 0.002467).
    """
    before = _counting()
    assert lingtea([at_labels(before, IDS, 1, before)], Totals(1, 3)).item() == pytest.approx(0.0000244, abs=1e-7)
    assert lingtea_published([_published(before, before, IDS, 1)], Totals(1, 3)).item() == pytest.approx(0.004937, abs=1e-6)


def _published(logits: Tensor, before: Tensor, ids: tuple[int, ...], label_from: int) -> Labels:
    own = at_labels(logits, ids, label_from, before)
    assert own.reference is not None and own.reference.logits is not None
    previous = torch.tensor(ids[label_from:-1])[:, None]
    repeated = torch.log_softmax(own.reference.logits, 1)[1:].gather(1, previous)[:, 0]
    return replace(own, reference=replace(own.reference, repeated=torch.cat([torch.tensor([-torch.inf]).to(repeated), repeated])))


@pytest.mark.parametrize("label_from", [1, 3])
def test_lingtea_published_is_its_codes_over_whole_sequences(label_from: int) -> None:
    """The code's way for XGLM, in places of the whole text: a label stands where its token is read, -100 where that is prompt; the weight at a place is
    the reference's probability there of that label, else 0, for the divergence and for the cross-entropy of the label of the next place. Of the
    beginning of a text, which its code counts among the labels, and of the last place, which predicts none, we take neither."""
    ids = (2, 4, 1, 1, 3, 1)
    logits, before = drawn(len(ids), 5, 1), drawn(len(ids), 5, 2)
    labels = [token if place >= label_from else -100 for place, token in enumerate(ids)]
    teacher, student = torch.softmax(before, 1), torch.log_softmax(logits, 1)
    total = 0.0
    for place in range(len(ids) - 1):
        if labels[place + 1] == -100:
            continue
        weight = float(teacher[place, labels[place]]) if labels[place] != -100 else 0.0
        apart = float((teacher[place] * (teacher[place].log() - student[place])).sum())
        total += weight * apart - (1 - weight) * float(student[place, labels[place + 1]])
    count = len(ids) - label_from
    assert lingtea_published([_published(logits, before, ids, label_from)], Totals(1, count)).item() == pytest.approx(total / count)
