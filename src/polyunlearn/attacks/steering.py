"""Steering: what unlearning moved in the hidden states is moved back as the model reads, and, as a control, as much along a random direction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

import torch
from torch import Tensor, nn

from polyunlearn.attacks.relearning import taught_and_asked
from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.models.batching import packs
from polyunlearn.models.body import decoder_layers
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.trainable import restore, snapshot
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe

STRENGTHS = (0.25, 0.5, 1.0)
"""How far states are moved, as a share of their own length."""

LAYERS = 4
"""At how many layers, evenly spread over those that the study trains."""


def steering(target: Target, measure: Measure) -> None:
    """Move every state of a layer back along what lies between the learned state and this one, on average over the prompts of half of the claims; ask
    the other half. Gold is moved towards the learned state of each source."""
    for source, layer, moved in _moved(target):
        _steer(target, measure, source, layer, -moved, "back")


def random_steering(target: Target, measure: Measure) -> None:
    """The control: as `steering`, along a direction drawn at random for each layer, the same for every state of a seed."""
    for source, layer, moved in _moved(target):
        generator = torch.Generator().manual_seed(Random(f"{target.seed}-{layer}").getrandbits(63))
        drawn = torch.randn(moved.shape, generator=generator).to(moved)
        _steer(target, measure, source, layer, drawn / drawn.norm(), "at random")


def layers_to_steer(target: Target) -> list[int]:
    """The layers, from 0, whose leaving states are moved."""
    return ends_of_parts(target.loaded.body.frozen_layers, len(decoder_layers(target.loaded.model)))


def ends_of_parts(first: int, count: int) -> list[int]:
    """The last layer of each of `LAYERS` even parts of the layers from `first` to `count` - 1; of fewer layers, all."""
    return sorted({first + (count - first) * part // LAYERS - 1 for part in range(1, LAYERS + 1)} - {first - 1})


def mean_direction(now: Tensor, before: Tensor) -> Tensor:
    r"""The direction (width,) of length 1 in which states (prompts, width) moved, or 0 where they did not.

    .. math:: v \propto \frac{1}{N} \sum_i \frac{h_i}{\lVert h_i \rVert} - \frac{h^0_i}{\lVert h^0_i \rVert}
    """
    moved: Tensor = (nn.functional.normalize(now, dim=1) - nn.functional.normalize(before, dim=1)).mean(0)
    return nn.functional.normalize(moved, dim=0)


@contextmanager
def steered(loaded: LoadedModel, layer: int, direction: Tensor, strength: float) -> Iterator[None]:
    r"""While every state that leaves `layer` is moved: :math:`h \leftarrow h + \alpha \lVert h \rVert v`, `strength` being :math:`\alpha`."""

    def move(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
        states = output if isinstance(output, Tensor) else output[0]
        moved = (states.float() + strength * states.float().norm(dim=-1, keepdim=True) * direction).to(states.dtype)
        return moved if isinstance(output, Tensor) else (moved, *output[1:])

    hook = decoder_layers(loaded.model)[layer].register_forward_hook(move)
    try:
        yield
    finally:
        hook.remove()


def _moved(target: Target) -> Iterator[tuple[str, int, Tensor]]:
    """By source and layer, the direction from the learned state to this one, in the states that prompts end in: 0 for gold in layers that learning does
    not train."""
    probes = target.probes_of(taught_and_asked(target.claims)[0])
    layers = layers_to_steer(target)
    now, state = [_prompt_ends(target.loaded, probes, layer) for layer in layers], snapshot(target.parameters)
    for source, weights in target.learned.items():
        try:
            restore(target.parameters, weights())
            before = [_prompt_ends(target.loaded, probes, layer) for layer in layers]
        finally:
            restore(target.parameters, state)
        for layer, own, learned in zip(layers, now, before, strict=True):
            yield source, layer, mean_direction(own, learned)


def _steer(target: Target, measure: Measure, source: str, layer: int, direction: Tensor, name: str) -> None:
    probes = target.probes_of(taught_and_asked(target.claims)[1])
    questions = ranked_questions(probes, target.loaded.encoder)
    for strength in STRENGTHS:
        with steered(target.loaded, layer, direction, strength):
            measure(Variant(f"{name}, after layer {layer}", strength, source), target.loaded, probes, questions)


@torch.no_grad()
def _prompt_ends(loaded: LoadedModel, probes: Sequence[Probe], layer: int) -> Tensor:
    """The states (probes, width) that leave a layer at the last token of each prompt."""
    rows = [TokenRow.plain(own.prompt) for own in ranked_questions(probes, loaded.encoder)]
    ends: dict[int, Tensor] = {}
    for batch in packs([len(row.ids) for row in rows]):
        _, states = loaded.body.packed_and_watched([rows[index] for index in batch], layer)
        stops = torch.tensor([len(rows[index].ids) for index in batch]).cumsum(0) - 1
        ends |= zip(batch, states[stops.to(states.device)].float(), strict=True)
    return torch.stack([ends[index] for index in range(len(rows))])
