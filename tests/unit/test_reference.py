"""The reference of methods that ask for one: computed once an example, under what it hangs on."""

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from tiny import own_label_log_probs, own_log_probs, sequences, sharp, tokens

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.training import reference as reference_module
from polyunlearn.training.labels import Need
from polyunlearn.training.loop import Optimiser, Step, train
from polyunlearn.training.objectives import get_method
from polyunlearn.training.reference import ReferenceCache, state_fingerprint

NEEDS: frozenset[Need] = frozenset({"reference"})


def _asked(monkeypatch: pytest.MonkeyPatch) -> list[TokenSequence]:
    """The sequences that are computed from here on."""
    asked: list[TokenSequence] = []
    original = reference_module.label_passes

    def watched(body: Any, head: Any, own: Any, **more: Any) -> Any:
        asked.extend(own)
        return original(body, head, own, **more)

    monkeypatch.setattr(reference_module, "label_passes", watched)
    return asked


def test_each_example_is_computed_once(any_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two examples; another cache on the same file asks for new ones alone; where labels begin is part of an example."""
    loaded = sharp(any_model_folder)
    first, second, third = sequences(1, 5, 6, 7)
    asked = _asked(monkeypatch)
    found = ReferenceCache(tmp_path, "a").reference(loaded.body, loaded.head, {first: NEEDS, second: NEEDS})
    assert asked == [first, second]
    torch.testing.assert_close(found(first).log_probs, own_label_log_probs(loaded, first), atol=2e-4, rtol=1e-5)
    shifted = TokenSequence(first.ids, first.label_from + 1)
    again = ReferenceCache(tmp_path, "a").reference(loaded.body, loaded.head, dict.fromkeys([second, third, shifted], NEEDS))
    assert asked[2:] == [third, shifted]
    assert torch.equal(again(second).log_probs, found(second).log_probs) and len(again(shifted)) == len(found(first)) - 1
    assert found(first).logits is None and found(first).states is None
    with pytest.raises(KeyError):
        found(third)


def test_what_more_is_needed_is_computed(any_model_folder: Path, tmp_path: Path) -> None:
    """Logits and states as the pass of the whole model gives them; a label repeated has the log-prob of the one before it, in its place."""
    loaded = sharp(any_model_folder)
    own = sequences(3, 9)[0]
    cache = ReferenceCache(tmp_path, "a")
    cache.reference(loaded.body, loaded.head, {own: NEEDS})
    every: frozenset[Need] = frozenset({"reference", "reference_logits", "reference_states", "reference_repeated"})
    found = cache.reference(loaded.body, loaded.head, {own: every}, watched=1)(own)
    whole = own_log_probs(loaded, own.ids)
    places = range(own.label_from, len(own.ids))
    assert found.logits is not None and found.states is not None and found.repeated is not None
    torch.testing.assert_close(
        torch.log_softmax(found.logits, 1), torch.stack([whole[place - 1] for place in places]), atol=2e-4, rtol=1e-5
    )
    wanted = torch.stack([whole[place - 1, own.ids[place - 1]] for place in places[1:]])
    torch.testing.assert_close(found.repeated[1:], wanted, atol=2e-4, rtol=1e-5)
    assert found.repeated[0] == -torch.inf
    single = replace(own, label_from=len(own.ids) - 1)
    alone = cache.reference(loaded.body, loaded.head, {single: every}, watched=1)(single).repeated
    assert alone is not None and alone.tolist() == [-torch.inf]
    states = loaded.model(input_ids=torch.tensor([own.ids]), output_hidden_states=True).hidden_states[2][0]
    torch.testing.assert_close(found.states, states[own.label_from - 1 : -1], atol=1e-4, rtol=1e-4)
    assert not any(part.requires_grad for part in (found.log_probs, found.logits, found.states, found.repeated))


def test_another_state_has_a_file_of_its_own_and_a_damaged_one_is_made_anew(
    any_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = sharp(any_model_folder)
    wanted = dict.fromkeys(sequences(2, 5), NEEDS)
    asked = _asked(monkeypatch)
    cache = ReferenceCache(tmp_path, "a")
    cache.reference(loaded.body, loaded.head, wanted)
    ReferenceCache(tmp_path, "b").reference(loaded.body, loaded.head, wanted)
    assert len(asked) == 2
    cache.path.write_bytes(b"half a file")
    cache.reference(loaded.body, loaded.head, wanted)
    cache.reference(loaded.body, loaded.head, wanted)
    assert len(asked) == 3


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
    reference = cache.reference(loaded.body, loaded.head, dict.fromkeys(forget, NEEDS))
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
    losses = train(loaded.body, loaded.head, parameters, steps, get_method("npo").objective(), Optimiser(1e-3), after_step, reference)
    assert losses == pytest.approx(wanted, abs=2e-3)
    assert losses[0] > losses[1] > losses[2]
