"""What several unit tests need beside the fixtures: tiny models whose predictions depend on their context, and random tokens."""

from pathlib import Path
from random import Random

import torch
from torch import Tensor

from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import TokenSequence

SHARPNESS = {"body": 6.0, "tokens": 25.0}
"""With the weights as they are drawn every token is about as probable as any other, and a wrong mask would go unseen."""


def sharp(folder: Path, frozen_layers: int = 0) -> LoadedModel:
    """A tiny model with its matrices scaled up, so that log-probs differ by whole nats with the context."""
    loaded = load_model(str(folder), frozen_layers=frozen_layers)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(SHARPNESS["tokens" if parameter.shape[0] == loaded.head.weight.shape[0] else "body"])
    return loaded


def tokens(rng: Random, count: int) -> tuple[int, ...]:
    """Ordinary tokens, none of them special."""
    return tuple(rng.randrange(3, 600) for _ in range(count))


def sequences(seed: int, *lengths: int) -> list[TokenSequence]:
    """Random sequences of these lengths; their labels begin at a third of it."""
    rng = Random(seed)
    return [TokenSequence((1, *tokens(rng, length - 1)), max(1, length // 3)) for length in lengths]


def plain_rows(items: list[TokenSequence]) -> list[TokenRow]:
    """The rows of whole sequences."""
    return [TokenRow.plain(item.ids) for item in items]


@torch.no_grad()
def own_log_probs(loaded: LoadedModel, ids: tuple[int, ...]) -> Tensor:
    """What the Hugging Face model itself says of running text, unpadded and alone: (ids, vocabulary) log-probs."""
    return torch.log_softmax(loaded.model(input_ids=torch.tensor([ids])).logits[0].float(), dim=-1)


def own_label_log_probs(loaded: LoadedModel, sequence: TokenSequence) -> Tensor:
    """The Hugging Face model's own log-probs of the labels of one sequence."""
    whole = own_log_probs(loaded, sequence.ids)
    return torch.stack([whole[place - 1, sequence.ids[place]] for place in range(sequence.label_from, len(sequence.ids))])
