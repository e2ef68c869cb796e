"""Batches by length and padding."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")

_ON_CUDA = torch.cuda.is_available()

TOKEN_BUDGET = 8192 if _ON_CUDA else 1024
"""Padded tokens in a batch of a scoring pass: on a CPU larger ones fall out of its caches and are slower, a GPU waits for work with smaller ones."""

PACK_BUDGET = 2048 if _ON_CUDA else 512
"""Tokens of a training pass, whose activations are all in memory."""

LEAST_FILL = 0.7
"""The share of a padded row that must be real tokens."""


def padded(rows: Sequence[Sequence[int]], fill: int = 0) -> Tensor:
    """Right-padded integers, shape (rows, longest)."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=fill)


def batches_by_length(lengths: Sequence[int], token_budget: int, least_fill: float = LEAST_FILL) -> Iterator[list[int]]:
    """Indices grouped so that items of like length share a batch and no padded batch exceeds `token_budget` tokens.

    A single item over the budget gets a batch of its own. No item is padded to more than 1 / `least_fill` of its length.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else 0
        if batch and (longest * (len(batch) + 1) > token_budget or lengths[index] < least_fill * longest):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def mapped_by_length(
    items: Sequence[Item],
    length: Callable[[Item], int],
    token_budget: int,
    work: Callable[[list[Item]], Iterable[Result]],
    least_fill: float = LEAST_FILL,
) -> list[Result]:
    """What `work` makes of each item, in the order given; it gets them in the batches of `batches_by_length` and answers in their order."""
    results: dict[int, Result] = {}
    for batch in batches_by_length([length(item) for item in items], token_budget, least_fill):
        results |= zip(batch, work([items[i] for i in batch]), strict=True)
    return [results[index] for index in range(len(items))]


def packs(lengths: Sequence[int], token_budget: int = PACK_BUDGET) -> Iterator[list[int]]:
    """Indices in order, grouped so that no group exceeds `token_budget` tokens; a single item over it gets a group of its own."""
    pack: list[int] = []
    for index in range(len(lengths)):
        if pack and sum(lengths[i] for i in pack) + lengths[index] > token_budget:
            yield pack
            pack = []
        pack.append(index)
    if pack:
        yield pack


def even_groups(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Indices in groups of about `tokens` tokens, as even as longest-first filling makes them; each group is in order."""
    groups: list[list[int]] = [[] for _ in range(max(1, sum(lengths) // tokens))]
    filled = [0] * len(groups)
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        emptiest = filled.index(min(filled))
        groups[emptiest].append(index)
        filled[emptiest] += lengths[index]
    return [sorted(group) for group in groups if group]
