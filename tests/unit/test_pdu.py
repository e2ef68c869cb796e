"""Primal-dual unlearning: its forget term, and the weight that follows the retain loss."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from handmade_bodies import OneWeight
from handmade_labels import of_logits
from tiny import sequences, sharp
from torch import Tensor
from whole_sequences import at_labels, drawn

from polyunlearn.errors import UserError
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.training.labels import Totals
from polyunlearn.training.loop import Dual, Objective, Optimiser, Part, Step, train
from polyunlearn.training.objectives import get_method
from polyunlearn.training.objectives.cross_entropy import cross_entropy
from polyunlearn.training.objectives.pdu import pdu


def test_pdu_by_hand() -> None:
    """Logits 3, 0, 0 have a mean of 1 and a margin of 2: 4, with the gradient 2 * 2 * (2/3, -1/3, -1/3). Where all are alike, both are 0.

    Over the two labels of the step: 2, and half the gradient; whichever token the label is.
    """
    own = of_logits([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [2, 0])
    loss = pdu([own], Totals(1, 2))
    loss.backward()
    assert own.logits is not None and own.logits.grad is not None
    assert loss.item() == pytest.approx(2.0)
    assert own.logits.grad.tolist() == [pytest.approx([4 / 3, -2 / 3, -2 / 3]), pytest.approx([0, 0, 0])]


def test_pdu_flattens_where_labels_are_predicted_where_a_peer_is_off_by_one() -> None:
    """A label's mask laid on the logits of its own place misses the prediction of the first label, and flattens what follows the last, which is asked
    of nobody. Ours does neither."""
    ids, label_from = (3, 1, 4, 1, 5), 3

    def peer(logits: Tensor) -> Tensor:
        own = logits[label_from:]
        return (own.amax(1) - own.mean(1)).square().mean()

    for value, right in ((peer, False), (lambda now: pdu([at_labels(now, ids, label_from)], Totals(1, 2)), True)):
        now = drawn(len(ids), 7, 1).requires_grad_()
        value(now).backward()
        assert now.grad is not None
        assert bool(now.grad[label_from - 1].any()) is right and bool(now.grad[-1].any()) is not right


def test_the_weight_by_hand() -> None:
    """With a rate of 2 and a tolerance of 0.1 from 1: a loss of 0.4 makes it 1.6, then 0 makes it 1.4; from 0.1 a loss of 0 makes it 0, not -0.1."""
    dual = Dual(2.0, 0.1)
    assert dual.after(1.0, 0.4) == pytest.approx(1.6)
    assert dual.after(1.6, 0.0) == pytest.approx(1.4)
    assert dual.after(0.1, 0.0) == 0.0


def _losses(steps: Sequence[Step], objective: Objective) -> list[float]:
    body = OneWeight()
    head = OutputHead(torch.tensor([[0.0], [1.0]]), None, None)
    return train(body, head, {"state": body.state}, steps, objective, Optimiser(0.1))  # type: ignore[arg-type]


LEARN = TokenSequence((0, 1), 1)
BOUND = Objective(None, Part(cross_entropy), dual=Dual(2.0, 0.1))


def test_the_loop_moves_the_weight_by_the_loss_without_its_weight() -> None:
    """As in `test_adamw_steps_by_hand`, at h = 0 the loss is R = 0.693147, at h = 0.1 it is R = 0.644397.

    The weight is 1, then 1 + 2 (0.693147 - 0.1) = 2.186294, and the loss 2.186294 * 0.644397 = 1.408841. The third weight is by the second R, not
    by the second loss: 2.186294 + 2 (0.644397 - 0.1) = 3.275088. A weight of 4.803976 would be by the loss.
    """
    step = Step(retain=(LEARN,))
    losses = _losses([step] * 3, BOUND)
    assert losses[:2] == pytest.approx([0.693147, 1.408841], abs=1e-5)
    # Adam moves a little less than the rate, so the third R is only known to lie near that of h = 0.2.
    assert losses[2] / 3.275088 == pytest.approx(0.598139, abs=2e-3)


def test_a_training_begins_with_the_weight_it_is_given() -> None:
    step = Step(retain=(LEARN,))
    assert _losses([step] * 3, BOUND) == _losses([step] * 3, BOUND)


def test_a_step_that_retains_nothing_leaves_the_weight() -> None:
    """Its loss is 0, not a loss of 0 within the bound."""

    def nothing(found: object, totals: Totals) -> Tensor:
        return found[0].log_probs.sum() * 0  # type: ignore[index]

    objective = Objective(Part(nothing), Part(cross_entropy), dual=Dual(2.0, 0.1))
    losses = _losses([Step(forget=(LEARN,)), Step(retain=(LEARN,))], objective)
    assert losses == pytest.approx([0.0, 0.693147], abs=1e-6)


def test_the_weight_is_by_the_whole_step_whatever_the_micro_batches(any_model_folder: Path) -> None:
    """Three steps, in one batch each and a sequence at a time; a weight that moved by a micro-batch's loss would be some times smaller."""
    method = get_method("pdu+cross_entropy").objective(1.0, {"dual_rate": 50.0, "tolerance": 0.5})
    steps = [Step(tuple(sequences(10 + at, 12, 6, 9)), tuple(sequences(50 + at, 4, 9))) for at in range(3)]
    found = []
    for budget in (10_000, 1):
        loaded = sharp(any_model_folder)
        parameters = make_trainable(loaded.model, TrainablePlan("body"))
        found.append(train(loaded.body, loaded.head, parameters, steps, method, Optimiser(1e-4), token_budget=budget))
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    assert found[0][1] > 10 * found[0][0]


def test_its_settings_and_the_studys_weight_make_the_dual() -> None:
    objective = get_method("pdu").objective(3.0, {"dual_rate": 2.0, "tolerance": 0.5})
    assert objective.dual == Dual(2.0, 0.5) and objective.retain is not None and objective.retain.weight == 3.0
    assert set(get_method("pdu").defaults) == {"dual_rate", "tolerance"} and get_method("npo").objective().dual is None


def test_without_a_retain_term_it_is_refused() -> None:
    with pytest.raises(UserError, match="method 'pdu\\+none': primal-dual unlearning bounds its retain loss"):
        get_method("pdu+none")
