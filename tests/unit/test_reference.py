"""The reference of methods that ask for one: computed once an example, under what it hangs on."""

from pathlib import Path
from random import Random

import pytest
import torch
from tiny import own_label_log_probs, sequences, sharp, tokens
from torch import Tensor

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.scoring.measure import score_sequences
from polyunlearn.training.loop import Optimiser, Step, train
from polyunlearn.training.objectives import METHODS
from polyunlearn.training.reference import ReferenceCache, state_fingerprint


class _Scorer:
    """Says -1 for every label of a sequence, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[TokenSequence]] = []

    def __call__(self, lacking: list[TokenSequence]) -> list[Tensor]:
        self.asked.append(lacking)
        return [torch.full((len(own.labels),), -float(len(own.ids))) for own in lacking]


def test_each_example_is_scored_once(tmp_path: Path) -> None:
    """Three examples, one of them twice; another cache on the same file asks for the new one alone; labels are part of an example."""
    first, second, third = sequences(1, 5, 6, 7)
    score = _Scorer()
    found = ReferenceCache(tmp_path, "a").log_probs([first, second, first], score)
    assert found.keys() == {first, second} and score.asked == [[first, second]]
    shifted = TokenSequence(first.ids, first.label_from + 1)
    again = ReferenceCache(tmp_path, "a").log_probs([second, third, shifted], score)
    assert score.asked[1:] == [[third, shifted]]
    assert torch.equal(again[second], found[second]) and len(again[shifted]) == len(found[first]) - 1


def test_another_state_has_a_file_of_its_own_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    items, score = sequences(2, 5), _Scorer()
    cache = ReferenceCache(tmp_path, "a")
    cache.log_probs(items, score)
    ReferenceCache(tmp_path, "b").log_probs(items, score)
    assert len(score.asked) == 2
    cache.path.write_bytes(b"half a file")
    cache.log_probs(items, score)
    cache.log_probs(items, score)
    assert len(score.asked) == 3


def test_the_fingerprint_sees_every_part() -> None:
    weights = {"a": torch.zeros(10_000), "b": torch.ones(2, 2)}
    changed = {**weights, "a": torch.zeros(10_000).index_fill(0, torch.tensor([7_777]), 1e-30)}
    columns = torch.tensor([0, -1, 1])
    prints = [
        state_fingerprint(model="m", weights=weights, columns=None),
        state_fingerprint(model="n", weights=weights, columns=None),
        state_fingerprint(model="m", weights=changed, columns=None),
        state_fingerprint(model="m", weights=weights, columns=columns),
        state_fingerprint(model="m", weights=weights, columns=columns + 1),
    ]
    assert len(set(prints)) == 5
    assert state_fingerprint(model="m", weights=dict(reversed(weights.items())), columns=None) == prints[0]


@pytest.mark.parametrize("weights", ["body", "lora"])
def test_training_with_the_cache_is_training_beside_a_resident_model(any_model_folder: Path, tmp_path: Path, weights: str) -> None:
    """Three NPO steps: the loss of each, against the formula on log-probs from a second model that is never trained."""
    loaded, resident = sharp(any_model_folder), sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan(weights))  # type: ignore[arg-type]
    rng = Random(3)
    forget = tuple(TokenSequence((1, *tokens(rng, size)), 3) for size in (6, 11))
    steps = [Step(retain=tuple(sequences(20 + number, 9)), forget=forget) for number in range(3)]
    cache = ReferenceCache(tmp_path, state_fingerprint(model=loaded.fingerprint, weights=parameters, columns=None))
    reference = cache.log_probs(forget, lambda lacking: score_sequences(loaded, loaded.head, lacking))
    wanted = []

    def after_step(number: int, loss: float) -> bool:
        if number < len(steps):
            wanted.append(expected(steps[number]))
        return False

    def expected(step: Step) -> float:
        retained = -own_label_log_probs(loaded, step.retain[0]).mean()
        ratios = [own_label_log_probs(loaded, own).sum() - own_label_log_probs(resident, own).sum() for own in forget]
        return float(retained + 20 * torch.nn.functional.softplus(0.1 * torch.stack(ratios)).mean())

    wanted.append(expected(steps[0]))
    losses = train(loaded.body, loaded.head, parameters, steps, METHODS["npo"].objective(1.0), Optimiser(1e-3), after_step, reference)
    assert losses == pytest.approx(wanted, abs=2e-3)
    assert losses[0] > losses[1] > losses[2]
