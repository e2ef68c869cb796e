"""Which weights move in a training step, and which must not."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import plain_rows, sequences, sharp
from torch import Tensor

from polyunlearn.errors import UserError
from polyunlearn.models.body import decoder_layers
from polyunlearn.models.forward import label_log_probs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, load_state, make_trainable, restore, save_state, snapshot, train_band


def _loss(loaded: LoadedModel) -> Tensor:
    return -torch.cat(label_log_probs(loaded.body, loaded.head, sequences(1, 20, 12, 15))).mean()


def _moved_by_one_step(loaded: LoadedModel, plan: TrainablePlan, steps: int = 1) -> tuple[set[str], set[str], set[str]]:
    """Train plainly; returns the names that moved, those that the plan names, and all."""
    parameters = make_trainable(loaded.model, plan)
    before = {name: parameter.detach().clone() for name, parameter in loaded.model.named_parameters()}
    optimiser = torch.optim.SGD(parameters.values(), lr=0.5)
    for _ in range(steps):
        optimiser.zero_grad()
        _loss(loaded).backward()
        optimiser.step()
    moved = {name for name, parameter in loaded.model.named_parameters() if not torch.equal(parameter, before[name])}
    return moved, set(parameters), set(before)


def _layer(name: str) -> int | None:
    parts = name.split(".")
    return int(parts[parts.index("layers") + 1]) if "layers" in parts else None


def test_body_moves_every_layer_and_no_embedding(any_model_folder: Path) -> None:
    moved, named, everything = _moved_by_one_step(sharp(any_model_folder), TrainablePlan("body"))
    assert moved == named == {name for name in everything if _layer(name) is not None}
    assert any("embed" in name for name in everything - moved)


def test_from_layer_moves_the_later_layers_only(any_model_folder: Path) -> None:
    """Also where the body computes the frozen layers once: frozen_layers goes with from_layer."""
    for frozen in (0, 2):
        moved, named, everything = _moved_by_one_step(sharp(any_model_folder, frozen), TrainablePlan("body", from_layer=2))
        assert moved == named == {name for name in everything if (_layer(name) or 0) >= 2}
        assert moved and moved < everything


@pytest.mark.parametrize("weights", ["body", "lora", "all"])
def test_a_stage_trains_from_its_own_layer_on(any_model_folder: Path, weights: str) -> None:
    """Layers 1 and later are free; a stage from layer 2 moves those alone, the next from layer 1 all of them. What is of no layer always trains."""
    loaded = sharp(any_model_folder)
    free = make_trainable(loaded.model, TrainablePlan(weights, from_layer=1, rank=4))  # type: ignore[arg-type]
    for first in (2, 1):
        chosen = train_band(free, first)
        assert set(chosen) == {name for name in free if _layer(name) is None or (_layer(name) or 0) >= first}
        before = snapshot(free)
        loss = _loss(loaded)
        loss.backward()
        torch.optim.SGD(chosen.values(), lr=0.5).step()
        moved = {name for name, parameter in free.items() if not torch.equal(parameter, before[name])}
        assert moved and moved <= set(chosen)
        if weights != "lora":  # LoRA's A moves from the second step on
            assert moved == set(chosen)
        loaded.model.zero_grad()


def test_all_moves_everything(any_model_folder: Path) -> None:
    moved, named, everything = _moved_by_one_step(sharp(any_model_folder), TrainablePlan("all"))
    assert moved == named == everything


def test_lora_moves_b_first_and_a_from_the_second_step_on(any_model_folder: Path) -> None:
    """W + s B A with B = 0: the gradient of A is s B^T G = 0 at first, that of B is s G A^T, which is not; then B is not 0 either."""
    pytest.importorskip("peft")
    moved, named, everything = _moved_by_one_step(sharp(any_model_folder), TrainablePlan("lora", from_layer=1, rank=4))
    assert moved == {name for name in named if "lora_B" in name}
    assert {_layer(name) for name in named} == set(range(1, 1 + max(_layer(name) or 0 for name in everything)))
    later, named, everything = _moved_by_one_step(sharp(any_model_folder), TrainablePlan("lora", from_layer=1, rank=4), steps=2)
    assert later == named == {name for name in everything if "lora_" in name}
    # Every linear layer of a decoder layer has an adapter: q, k, v, o, gate, up, down.
    assert len(named) == 2 * 7 * len({_layer(name) for name in named})


def test_adapters_change_nothing_until_they_train(any_model_folder: Path) -> None:
    pytest.importorskip("peft")
    loaded = sharp(any_model_folder)
    with torch.no_grad():
        before = loaded.body(plain_rows(sequences(2, 20)))
        make_trainable(loaded.model, TrainablePlan("lora", rank=4))
        assert torch.equal(loaded.body(plain_rows(sequences(2, 20))), before)


def test_adapters_reach_what_the_body_computes(any_model_folder: Path) -> None:
    """Adapters are put in after the body was built, with frozen layers too; the update is (alpha / rank) B A, as in a merged weight."""
    pytest.importorskip("peft")
    loaded = sharp(any_model_folder, 2)
    merged = copy.deepcopy(loaded.model)
    parameters = make_trainable(loaded.model, TrainablePlan("lora", from_layer=2, rank=4, alpha=12))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        for name, parameter in parameters.items():
            if "lora_B" in name:
                module = name.split(".lora_B")[0]
                a = parameters[name.replace("lora_B", "lora_A")]
                merged.get_submodule(module).weight += 12 / 4 * parameter @ a
        item = sequences(4, 20)[0]
        wanted = merged.base_model(input_ids=torch.tensor([item.ids])).last_hidden_state
        torch.testing.assert_close(loaded.body(plain_rows([item])), wanted, atol=1e-3, rtol=1e-3)


def test_adapters_come_from_the_seed(any_model_folder: Path) -> None:
    """The same seed gives the same adapters whatever the global generator did, and leaves it as it was."""
    pytest.importorskip("peft")
    states = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        expected = torch.Generator().manual_seed(noise)
        parameters = make_trainable(sharp(any_model_folder).model, TrainablePlan("lora", rank=4), seed)
        assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
        states.append(snapshot(parameters))
    a = next(name for name in states[0] if "lora_A" in name)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0][a], states[2][a])


@pytest.mark.parametrize("number", [-1, 99])
def test_a_layer_that_is_not_there_is_refused(any_model_folder: Path, number: int) -> None:
    loaded = sharp(any_model_folder)
    last = len(decoder_layers(loaded.model)) - 1
    with pytest.raises(UserError, match=rf"from_layer {number}: the model has layers 0 to {last}"):
        make_trainable(loaded.model, TrainablePlan("body", from_layer=number))


@pytest.mark.parametrize("weights", ["body", "lora", "all"])
def test_snapshot_file_and_restore_are_exact_to_the_bit(any_model_folder: Path, tmp_path: Path, weights: str) -> None:
    if weights == "lora":
        pytest.importorskip("peft")
    loaded = sharp(any_model_folder)
    parameters = make_trainable(loaded.model, TrainablePlan(weights))  # type: ignore[arg-type]
    before = snapshot(parameters)
    kept = {name: tensor.clone() for name, tensor in before.items()}
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    # The snapshot is a copy: what happens to the weights does not reach it.
    assert all(torch.equal(before[name], kept[name]) for name in kept)
    after = snapshot(parameters)
    save_state(after, tmp_path / "states" / "after.safetensors")
    restore(parameters, before)
    assert all(torch.equal(parameter, kept[name]) for name, parameter in parameters.items())
    loaded_state = load_state(tmp_path / "states" / "after.safetensors")
    assert loaded_state.keys() == after.keys()
    restore(parameters, loaded_state)
    assert all(torch.equal(parameter, after[name]) for name, parameter in parameters.items())
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["after.safetensors"]


@pytest.mark.parametrize("spoil", [lambda state: state.popitem(), lambda state: state.update(more=torch.zeros(1))])
def test_a_state_of_other_weights_is_refused(any_model_folder: Path, spoil: Callable[[dict[str, Tensor]], object]) -> None:
    """And nothing is written before it is."""
    parameters = make_trainable(sharp(any_model_folder).model, TrainablePlan("body"))
    before = snapshot(parameters)
    state = {name: tensor + 1 for name, tensor in before.items()}
    spoil(state)
    with pytest.raises(ValueError, match="other weights"):
        restore(parameters, state)
    assert all(torch.equal(parameter, before[name]) for name, parameter in parameters.items())


def test_a_band_ends_before_its_end(any_model_folder: Path) -> None:
    free = make_trainable(sharp(any_model_folder).model, TrainablePlan("body"))
    chosen = train_band(free, 1, 2)
    assert {_layer(name) for name in chosen} == {1}
    assert all(parameter.requires_grad == (name in chosen) for name, parameter in free.items())
