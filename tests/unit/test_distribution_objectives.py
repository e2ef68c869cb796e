"""Objectives over whole predictions: UNDIAL, CE-U, the divergence from the reference; and NPO, which must not be over logits."""

from collections.abc import Callable
from math import log

import pytest
import torch
from handmade_labels import of_logits
from torch import Tensor
from whole_sequences import at_labels, drawn

from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.objectives.ce_u import ce_u
from polyunlearn.training.objectives.kl import kl
from polyunlearn.training.objectives.npo import npo
from polyunlearn.training.objectives.undial import undial

IDS, LABEL_FROM, COLUMNS = (3, 1, 4, 1, 5), 3, 120
"""A prompt of three tokens and two labels, over more columns than the number that marks what is no label."""

TARGETS = torch.tensor([-100, -100, 1, 5, -100])
"""The labels at the places that predict them, as peers keep them: -100 where there is none."""


def _logs(*probabilities: float) -> list[float]:
    return [log(p) for p in probabilities]


def _slope(term: Callable[..., Tensor], own: Labels, totals: Totals, **settings: float) -> tuple[float, list[float]]:
    """The loss, and its gradient in the first label's logits."""
    loss = term([own], totals, **settings)
    loss.backward()
    assert own.logits is not None and own.logits.grad is not None
    return loss.item(), own.logits.grad[0].tolist()


def test_undial_by_hand() -> None:
    """The reference says 3/4 and 1/4; with the label's logit lowered by ln 3 the target is 1/2 and 1/2.

    The model still says as the reference does: -(ln 0.75 + ln 0.25) / 2 = 0.836988, with the gradient p - q = 0.25, -0.25. In a step of two
    labels half of each.
    """
    own = of_logits([_logs(0.75, 0.25)], [0], [_logs(0.75, 0.25)])
    loss, slope = _slope(undial, own, Totals(1, 2), beta=log(3))
    assert loss == pytest.approx(0.836988 / 2, abs=1e-6) and slope == pytest.approx([0.125, -0.125])


def test_undial_rests_at_its_target() -> None:
    """A model that says what the target says gets no gradient, and with beta 0 that is the reference."""
    for beta, now in ((log(3), _logs(0.5, 0.5)), (0.0, _logs(0.75, 0.25))):
        own = of_logits([now], [0], [_logs(0.75, 0.25)])
        assert _slope(undial, own, Totals(1, 1), beta=beta)[1] == pytest.approx([0.0, 0.0], abs=1e-12)


def test_undial_lowers_labels_alone_where_a_peer_indexes_with_minus_100() -> None:
    """A mask of -100 as an index lowers the hundredth logit from the end wherever there is no label, and the mean is over those places too: the
    prompt is then taught. Ours leaves every place that predicts no label alone."""

    def peer(logits: Tensor, before: Tensor) -> Tensor:
        lowered = before.clone()
        lowered[range(len(IDS)), TARGETS] -= 10.0
        return -(torch.softmax(lowered, 1) * torch.log_softmax(logits, 1)).sum(1).mean()

    before = drawn(len(IDS), COLUMNS, 1)
    for value, taught in ((peer, True), (lambda now, was: undial([at_labels(now, IDS, LABEL_FROM, was)], Totals(1, 2)), False)):
        now = drawn(len(IDS), COLUMNS, 1).requires_grad_()
        value(now, before).backward()
        assert now.grad is not None and now.grad[2:4].abs().max() > 1e-4
        assert bool(now.grad[:2, COLUMNS - 100].abs().max() > 1e-4) is taught and bool(now.grad[[0, 1, 4]].any()) is taught


def test_ce_u_by_hand() -> None:
    """The model says 0.5, 0.3, 0.2 and the label is the first: the target is 0, 0.6, 0.4.

    -(0.6 ln 0.3 + 0.4 ln 0.2) = 0.722384 + 0.643775 = 1.366159; the gradient is p - q = 0.5, -0.3, -0.2.
    """
    loss, slope = _slope(ce_u, of_logits([_logs(0.5, 0.3, 0.2)], [0]), Totals(1, 1))
    assert loss == pytest.approx(1.366159, abs=1e-6) and slope == pytest.approx([0.5, -0.3, -0.2])


def test_ce_u_is_finite_and_bounded_from_certainty_to_oblivion() -> None:
    """The gradient at the label's logit is its probability: 1 where the model is certain, 0 where the label is gone."""
    for height, wanted in ((200.0, 1.0), (-200.0, 0.0)):
        loss, slope = _slope(ce_u, of_logits([[height, 0.0, 1.0]], [0]), Totals(1, 1))
        assert loss < 300 and slope[0] == pytest.approx(wanted) and max(map(abs, slope)) <= 1.0


def test_ce_u_forgets_the_first_label_where_a_peer_skips_it() -> None:
    """What is shifted once too often leaves out the label that an answer begins with, which holds most of a name. Ours pushes it down too."""

    def peer(logits: Tensor) -> Tensor:
        return ce_u([at_labels(logits, IDS, LABEL_FROM + 1)], Totals(1, 1))

    for value, pushed in ((peer, False), (lambda now: ce_u([at_labels(now, IDS, LABEL_FROM)], Totals(1, 2)), True)):
        now = drawn(len(IDS), COLUMNS, 2).requires_grad_()
        value(now).backward()
        assert now.grad is not None and bool(now.grad[LABEL_FROM - 1, IDS[LABEL_FROM]] > 0) is pushed
        assert now.grad[LABEL_FROM, IDS[LABEL_FROM + 1]] > 0


def test_kl_by_hand() -> None:
    """The reference says 1/2 and 1/2, the model 0.8 and 0.2: (ln 0.625 + ln 2.5) / 2 = (-0.470004 + 0.916291) / 2 = 0.223144.

    The gradient is p - p_ref = 0.3, -0.3, whichever the label is.
    """
    for label in (0, 1):
        own = of_logits([_logs(0.8, 0.2)], [label], [_logs(0.5, 0.5)])
        loss, slope = _slope(kl, own, Totals(1, 1))
        assert loss == pytest.approx(0.223144, abs=1e-6) and slope == pytest.approx([0.3, -0.3])


def test_the_divergence_and_its_gradient_are_0_at_the_reference() -> None:
    own = of_logits([[1.0, -2.0, 0.5], [3.0, 0.0, 0.0]], [0, 2], [[2.0, -1.0, 1.5], [3.0, 0.0, 0.0]])
    loss = kl([own], Totals(1, 2))
    loss.backward()
    assert own.logits is not None and own.logits.grad is not None
    assert loss.item() == pytest.approx(0.0, abs=1e-12) and own.logits.grad.abs().max() < 1e-12


def test_kl_is_over_labels_where_peers_average_prompt_and_padding() -> None:
    """A mean over all places changes with the prompt, of which nothing is asked; ours does not."""

    def peer(logits: Tensor, before: Tensor) -> Tensor:
        old = torch.log_softmax(before, 1)
        return (old.exp() * (old - torch.log_softmax(logits, 1))).sum(1).mean()

    before, now = drawn(len(IDS), 7, 3), drawn(len(IDS), 7, 4)
    moved = now.clone()
    moved[0] = -moved[0]
    assert abs(peer(now, before) - peer(moved, before)) > 0.01
    ours = [kl([at_labels(logits, IDS, LABEL_FROM, before)], Totals(1, 2)).item() for logits in (now, moved)]
    assert ours[0] == ours[1] > 0.01


def test_npo_is_over_log_probs_where_a_peer_takes_raw_logits() -> None:
    """A constant added to all logits of a place changes no probability. A ratio of raw logits moves by it, ours does not."""

    def peer(own: Labels) -> float:
        assert own.logits is not None and own.targets is not None and own.reference is not None and own.reference.logits is not None
        apart = (own.logits - own.reference.logits).gather(1, own.targets[:, None]).sum()
        return float(20 * torch.nn.functional.softplus(0.1 * apart))

    before, now = drawn(len(IDS), 7, 5), drawn(len(IDS), 7, 6)
    same, raised = (at_labels(logits, IDS, LABEL_FROM, before) for logits in (now, now + 3.0))
    assert abs(peer(raised) - peer(same)) > 1.0
    assert npo([raised], Totals(1, 2)).item() == pytest.approx(npo([same], Totals(1, 2)).item(), abs=1e-9)
