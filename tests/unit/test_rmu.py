"""Objectives over hidden states: RMU, and the distance from the reference that goes with it."""

from collections.abc import Sequence

import pytest
import torch
from handmade_labels import tensor
from torch import Tensor

from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.objectives.hidden_states import distance, hidden_states
from polyunlearn.training.objectives.rmu import direction, rmu, target


def _states(now: Sequence[Sequence[float]], before: Sequence[Sequence[float]]) -> Labels:
    """Labels of which only the states are asked."""
    nothing = torch.zeros(len(now), dtype=torch.float64)
    return Labels(nothing, states=tensor(now), reference=Labels(nothing, states=tensor(before).detach()))


def _slope(own: Labels) -> list[list[float]]:
    assert own.states is not None and own.states.grad is not None
    return own.states.grad.tolist()


def test_hidden_states_by_hand() -> None:
    """Differences (0, 2) and (3, 4): (4 / 2 + 25 / 2) / 2 labels = 7.25; the gradient is 2 / width / labels = 1/2 of the difference."""
    own = _states([[1, 2], [3, 4]], [[1, 0], [0, 0]])
    loss = hidden_states([own], Totals(1, 2))
    loss.backward()
    assert loss.item() == pytest.approx(7.25) and _slope(own) == [pytest.approx([0, 1]), pytest.approx([1.5, 2])]


def test_rmu_by_hand_in_one_dimension() -> None:
    """With a width of 1 the direction is 1. A reference of -3 has length 3, so that steering by 2 leads to 6: from 1 it is (1 - 6)² = 25 away.

    Over the 2 labels of the step, of which this is one: 12.5, with a gradient of 2 * -5 / 2 = -5, which makes the state grow.
    """
    own = _states([[1]], [[-3]])
    loss = rmu([own], Totals(1, 2), steering=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(12.5) and _slope(own) == [pytest.approx([-5])]


def test_rmu_by_hand_in_two_dimensions() -> None:
    """A reference of (3, 4) has length 5, so the target is 5 u with c = 1. At the target the loss is 0; at 0 it is 25 |u|² / 2 = 12.5; opposite to
    the target 100 / 2 = 50."""
    u = direction(2)
    for times, wanted in ((5, 0.0), (0, 12.5), (-5, 50.0)):
        own = _states([(times * u).tolist()], [[3, 4]])
        assert rmu([own], Totals(1, 1), steering=1.0).item() == pytest.approx(wanted, abs=1e-12)


def test_the_direction_is_a_positive_unit_vector_and_always_the_same() -> None:
    torch.manual_seed(1)
    one = direction(64)
    torch.manual_seed(2)
    assert torch.equal(direction(64), one) and bool((one >= 0).all()) and one.norm().item() == pytest.approx(1.0)
    assert one.std() > 0.01


def test_targets_are_as_long_as_the_states_they_replace_ask_for() -> None:
    own = _states([[0, 0], [0, 0]], [[3, 4], [0, 2]])
    assert target(own, 2.0).norm(dim=1).tolist() == pytest.approx([10.0, 4.0])


def test_squares_of_half_precision_do_not_overflow() -> None:
    """400² = 160,000 is beyond what half precision holds."""
    found = distance(torch.full((1, 4), 400.0, dtype=torch.float16), torch.zeros(1, 4, dtype=torch.float16))
    assert found.dtype == torch.float32 and found.item() == pytest.approx(160_000.0)


def test_rmu_normalises_each_label_where_a_peer_mixes_the_lengths_of_a_batch() -> None:
    """Two answers, of two labels 1 away each and of one label 3 away. Sums (2, 9) over lengths ((2), (1)) broadcast to four quotients, whose mean is
    5.5 * 0.75 = 4.125, while one answer at a time gives 1 and 9, in the mean 5. What shares a batch must not matter: ours is (1 + 1 + 9) / 3
    either way."""
    answers = [_states([[1], [1]], [[0], [0]]), _states([[3]], [[0]])]

    def peer(batch: Sequence[Labels]) -> Tensor:
        sums = torch.stack([own.states.square().sum() for own in batch if own.states is not None])
        lengths = torch.tensor([[float(len(own))] for own in batch])
        return (sums / lengths).mean()

    assert peer(answers).item() == pytest.approx(4.125)
    assert (peer(answers[:1]) + peer(answers[1:])).item() / 2 == pytest.approx(5.0)
    totals = Totals(2, 3)
    for term in (rmu, hidden_states):
        together, apart = term(answers, totals).item(), sum(term([own], totals).item() for own in answers)
        assert together == pytest.approx(11 / 3) and apart == pytest.approx(11 / 3)
