"""Logits of whole sequences, prompt and all, for what must not depend on where labels lie in them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from polyunlearn.training.labels import Labels


def at_labels(logits: Tensor, ids: Sequence[int], label_from: int, reference: Tensor | None = None) -> Labels:
    """The labels from place `label_from` on, under logits (places, columns) of which those at a place predict the next, as the loop selects them."""
    places = range(label_from - 1, len(ids) - 1)
    rows, targets = logits[list(places)], torch.tensor([ids[place + 1] for place in places])
    log_probs = torch.log_softmax(rows, 1).gather(1, targets[:, None])[:, 0]
    return Labels(log_probs, rows, targets, reference=None if reference is None else at_labels(reference, ids, label_from))


def drawn(places: int, columns: int, seed: int) -> Tensor:
    """Random logits in double precision."""
    return torch.randn(places, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
