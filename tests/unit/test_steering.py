"""Steering: the direction by hand, how far states are moved, and the control."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from handmade_targets import CLAIMS, target_of
from torch import Tensor

from polyunlearn.attacks.relearning import taught_and_asked
from polyunlearn.attacks.steering import STRENGTHS, ends_of_parts, layers_to_steer, mean_direction, random_steering, steered, steering
from polyunlearn.attacks.target import Attack, Target, Variant
from polyunlearn.models.body import decoder_layers
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion


def test_the_direction_is_that_of_states_of_length_one() -> None:
    """(0, 5) and (0, 2) are (0, 1) both, (3, 0) and (0, 4) were (1, 0) and (0, 1): the mean of (-1, 1) and (0, 0) has the direction (-1, 1) / sqrt 2."""
    found = mean_direction(torch.tensor([[0.0, 5.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    assert found.tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert mean_direction(torch.ones(2, 2), torch.ones(2, 2)).tolist() == [0, 0]


def test_states_are_moved_by_a_share_of_their_length(gemma: LoadedModel) -> None:
    """Each state of layer 1, of length r, leaves it r / 2 further along the direction; without the attack as before."""
    rows = [TokenRow.plain((2, 5, 9)), TokenRow.plain((2, 7))]
    with torch.no_grad():
        _, before = gemma.body.packed_and_watched(rows, 1)
        direction = torch.nn.functional.one_hot(torch.tensor(0), before.shape[1]).float()
        with steered(gemma, 1, direction, 0.5):
            _, now = gemma.body.packed_and_watched(rows, 1)
        _, after = gemma.body.packed_and_watched(rows, 1)
    torch.testing.assert_close(now - before, before.norm(dim=1, keepdim=True) / 2 * direction)
    assert torch.equal(after, before)
    gemma.model.bfloat16()
    with torch.no_grad(), steered(gemma, 1, direction, 0.5):
        assert gemma.body.packed_and_watched(rows, 1)[1].dtype == torch.bfloat16


def test_four_layers_are_steered_the_last_among_them(gemma: LoadedModel) -> None:
    """13 layers from 5 on make parts of three, three, three and four. Three layers have each once."""
    assert ends_of_parts(5, 18) == [7, 10, 13, 17] and ends_of_parts(1, 4) == [1, 2, 3]
    assert layers_to_steer(target_of(gemma))[-1] == len(decoder_layers(gemma.model)) - 1


def _variants(attack: object, target: Target) -> list[Variant]:
    asked = {story.id for story in taught_and_asked(CLAIMS)[1]}
    found: list[Variant] = []
    before = snapshot(target.parameters)

    def measure(variant: Variant, model: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion]) -> None:
        assert {probe.story for probe in probes} == asked and len(questions) == len(probes)
        assert all(torch.equal(now, before[name]) for name, now in target.parameters.items())
        assert decoder_layers(model.model)[int(variant.name.split()[-1])]._forward_hooks
        found.append(variant)

    assert callable(attack)
    attack(target, measure)
    return found


@pytest.mark.parametrize(("attack", "name"), [(steering, "back"), (random_steering, "at random")])
def test_every_layer_and_strength_for_each_source_and_the_state_as_it_was(gemma: LoadedModel, attack: object, name: str) -> None:
    target = target_of(gemma)
    before = snapshot(target.parameters)

    def learned(by: float) -> dict[str, Tensor]:
        return {own: weight + by * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) for own, weight in before.items()}

    target = replace(target, learned={"de": lambda: learned(0.01), "ur": lambda: learned(0.02)})
    layers = layers_to_steer(target)
    expected = [(f"{name}, after layer {layer}", strength, tag) for tag in ("de", "ur") for layer in layers for strength in STRENGTHS]
    assert [(own.name, own.strength, own.language) for own in _variants(attack, target)] == expected
    assert all(torch.equal(now, before[own]) for own, now in target.parameters.items())
    assert not any(layer._forward_hooks for layer in decoder_layers(gemma.model))


def test_states_are_moved_towards_the_learned_state_and_at_random_alike_for_all(gemma: LoadedModel) -> None:
    """The last layer's states where a prompt ends: the attack moves them the way that learning did; at random the same way for two states."""
    target = target_of(gemma)
    before = snapshot(target.parameters)
    learned = {own: 1.1 * weight for own, weight in before.items()}
    last = layers_to_steer(target)[-1]
    row = [TokenRow.plain(ranked_questions(target.probes, gemma.encoder)[0].prompt)]

    def end() -> Tensor:
        with torch.no_grad():
            return target.loaded.body.packed_and_watched(row, last)[1][-1]

    def ends(attack: Attack, own: Target) -> list[Tensor]:
        found: list[Tensor] = []
        attack(own, lambda variant, *_: found.append(end()) if variant.name.endswith(str(last)) else None)
        return found

    start = end()
    restore(target.parameters, learned)
    there = end()
    random_from_learned = [state - there for state in ends(random_steering, replace(target, learned={"de": lambda: before}))]
    restore(target.parameters, before)
    own = replace(target, learned={"de": lambda: learned})
    gentle = ends(steering, own)[0]
    assert torch.cosine_similarity(gentle - start, there - start, dim=0) > 0.1
    for one, other in zip([state - start for state in ends(random_steering, own)], random_from_learned, strict=True):
        assert torch.cosine_similarity(one, other, dim=0) > 0.999


def test_a_learned_state_is_not_steered(gemma: LoadedModel) -> None:
    assert _variants(steering, target_of(gemma)) == []
