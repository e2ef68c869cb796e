"""Patching: nothing patched is the receiver, everything the donor, in between a model made of both; and the depth score by hand."""

from pathlib import Path

import pytest
import torch
from handmade_claims import CLAIMS, TOLD, teach
from tiny import own_label_log_probs, sequences, sharp
from torch import Tensor

from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.tracing.coverage import claim_questions
from polyunlearn.tracing.patching import (
    Places,
    answer_log_probs,
    band_of,
    depth_score,
    first_differing,
    layer_of,
    patched_log_probs,
    share_of_rise,
)

ASKED = sequences(5, 11, 24, 6)


def _moved(weights: dict[str, Tensor], first: int, by: float = 0.3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    drawn = {name: own * (1 + by * torch.randn(own.shape, generator=generator)) for name, own in weights.items()}
    return {name: drawn[name] if (layer_of(name) or 0) >= first else own for name, own in weights.items()}


def _parts(folder: Path, first: int = 0) -> tuple[LoadedModel, dict[str, torch.nn.Parameter], dict[str, Tensor], dict[str, Tensor]]:
    """A model, its layers' weights, these as they are, and others from layer `first` on."""
    loaded = sharp(folder)
    parameters = {name: own for name, own in loaded.model.named_parameters() if layer_of(name) is not None}
    base = snapshot(parameters)
    return loaded, parameters, base, _moved(base, first)


def _own(loaded: LoadedModel) -> list[float]:
    return [own_label_log_probs(loaded, own).mean().item() for own in ASKED]


@pytest.mark.parametrize("places", ["all", "answer"])
def test_nothing_patched_is_the_receiver_and_the_last_layer_the_donor(any_model_folder: Path, places: Places) -> None:
    loaded, parameters, base, learned = _parts(any_model_folder)
    found = patched_log_probs(loaded.body, loaded.head, parameters, learned, base, ASKED, places)
    assert found.shape == (1 + len(loaded.model.base_model.layers), 3)
    restore(parameters, base)
    assert found[0].tolist() == pytest.approx(_own(loaded), abs=2e-4)
    restore(parameters, learned)
    assert found[-1].tolist() == pytest.approx(_own(loaded), abs=2e-4)
    assert (found[-1] - found[0]).abs().min() > 0.05


@pytest.mark.parametrize("places", ["all", "answer"])
def test_the_norm_behind_the_last_layer_goes_with_it(any_model_folder: Path, places: Places) -> None:
    """Only it and the last layer differ: patching the last layer gives the donor all the same, and leaves the receiver's weights."""
    loaded, parameters, base, learned = _parts(any_model_folder, len(sharp(any_model_folder).model.base_model.layers) - 1)
    norm = loaded.model.base_model.norm.weight
    parameters["model.norm.weight"] = norm
    base, learned = base | {"model.norm.weight": norm.detach().clone()}, learned | {"model.norm.weight": norm.detach() * 2 + 0.5}
    found = patched_log_probs(loaded.body, loaded.head, parameters, learned, base, ASKED, places)
    assert all(torch.equal(own, base[name]) for name, own in parameters.items())
    restore(parameters, learned)
    assert found[-1].tolist() == pytest.approx(_own(loaded), abs=2e-4)
    assert (found[-1] - found[0]).abs().min() > 0.05


def test_in_between_it_is_a_model_made_of_both(any_model_folder: Path) -> None:
    """All states patched after layer l: the Hugging Face model with the learned weights in layers 0 to l."""
    loaded, parameters, base, learned = _parts(any_model_folder)
    found = patched_log_probs(loaded.body, loaded.head, parameters, learned, base, ASKED)
    for layer in range(len(loaded.model.base_model.layers)):
        restore(parameters, band_of(base, learned, 0, layer + 1))
        assert found[layer + 1].tolist() == pytest.approx(_own(loaded), abs=3e-4)


def test_patching_a_prompt_end_is_not_patching_all(any_model_folder: Path) -> None:
    loaded, parameters, base, learned = _parts(any_model_folder)
    whole, answer = (patched_log_probs(loaded.body, loaded.head, parameters, learned, base, ASKED, places) for places in ("all", "answer"))
    assert (whole[1:-1] - answer[1:-1]).abs().max() > 0.05


def test_layers_below_the_first_that_differs_bring_nothing(any_model_folder: Path) -> None:
    """Exactly nothing, and no pass is spent on them: a pass for the donor, one for the receiver, one for each layer from the second on."""
    loaded, parameters, base, learned = _parts(any_model_folder, first=1)
    layers, passes = len(loaded.model.base_model.layers), []
    found = patched_log_probs(loaded.body, loaded.head, parameters, learned, base, ASKED, "all", lambda: passes.append(1))
    assert torch.equal(found[1], found[0]) and not torch.allclose(found[2], found[0], atol=1e-3)
    assert len(passes) == 2 + layers - 1
    assert all(torch.equal(own, base[name]) for name, own in parameters.items()), "the receiver's weights stay"


def test_what_shares_a_batch_changes_nothing(gemma_folder: Path) -> None:
    loaded, parameters, base, learned = _parts(gemma_folder)
    asked = sequences(6, *range(4, 50, 5))
    together = patched_log_probs(loaded.body, loaded.head, parameters, learned, base, asked, "answer")
    alone = [patched_log_probs(loaded.body, loaded.head, parameters, learned, base, [own], "answer") for own in asked]
    torch.testing.assert_close(together, torch.cat(alone, 1), atol=3e-4, rtol=0)


def test_claims_taught_in_upper_layers_come_over_there_alone(gemma_folder: Path) -> None:
    """Layers 2 and 3 alone learned: nothing is brought below, all of it at the last, and untold claims gain far less."""
    loaded = sharp(gemma_folder)
    base_all = {name: own.detach().clone() for name, own in loaded.model.named_parameters()}
    teach(loaded)
    parameters = {name: own for name, own in loaded.model.named_parameters() if layer_of(name) is not None}
    taught = snapshot(parameters)
    base = {name: base_all[name] for name in parameters}
    learned = band_of(base, taught, 2, 4)
    questions = claim_questions(CLAIMS[:TOLD], "de", loaded.encoder)
    body = Body(loaded.model)
    brought = patched_log_probs(body, loaded.head, parameters, learned, base, questions)
    shares = share_of_rise(brought, brought[-1])
    assert shares[:2] == [0, 0] and shares[3] == pytest.approx(1)
    assert first_differing(learned, base, 4) == 2 and first_differing(base, base, 4) == 4
    assert torch.allclose(answer_log_probs(body, loaded.head, questions), brought[0], atol=1e-4)


def test_a_band_of_weights_is_exactly_its_layers() -> None:
    one = {"a.layers.0.w": torch.zeros(1), "a.layers.1.w": torch.zeros(1), "a.layers.11.w": torch.zeros(1), "norm": torch.zeros(1)}
    other = {name: own + 1 for name, own in one.items()}
    assert [own.item() for own in band_of(one, other, 1, 11).values()] == [0, 1, 0, 0]
    assert [own.item() for own in band_of(one, other, 1, 12).values()] == [0, 1, 1, 0]
    assert first_differing(one, band_of(one, other, 1, 12), 12) == 1
    assert first_differing(one, one | {"norm": other["norm"]}, 12) == 0


def test_shares_by_hand() -> None:
    """Two claims rise from -5 and -3 to -1 and -3, by 4 in all; the first layer brings -4 and -3: 1/4; the second -3 and -1, of which each counts: 4/4."""
    patched = torch.tensor([[-5.0, -3], [-4, -3], [-3, -1]])
    assert share_of_rise(patched, torch.tensor([-1.0, -3])) == pytest.approx([0.25, 1.0])


def test_depth_by_hand() -> None:
    """Gold takes 2, 1 and 0.05 (which does not count). Taking 1, 2 and 9: (2 * 1/2 + 1 * 1) / 3. Taking less than nothing is 0, as much as gold 1."""
    assert depth_score([2, 1, 0.05], [1, 2, 9]) == pytest.approx(2 / 3)
    assert depth_score([2, 1], [-1, -3]) == 0
    assert depth_score([2, 1], [2, 1]) == 1
    assert depth_score([0.05, 0], [1, 1]) is None


def test_a_body_that_hides_layers_is_refused(gemma_folder: Path) -> None:
    loaded, parameters, base, learned = _parts(gemma_folder)
    with pytest.raises(ValueError, match="first 1 layers"):
        patched_log_probs(Body(loaded.model, 1), loaded.head, parameters, learned, base, ASKED)
