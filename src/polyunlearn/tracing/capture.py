"""The states that leave the layers of a model, read in one pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from polyunlearn.models.batching import TOKEN_BUDGET, mapped_by_length
from polyunlearn.models.body import Body
from polyunlearn.models.forward import sequence_rows
from polyunlearn.models.hooks import at_layers
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import TokenSequence


@torch.no_grad()
def layer_states(body: Body, rows: Sequence[TokenRow], keep: Sequence[Callable[[Tensor], Tensor]]) -> list[Tensor]:
    """Of each row what its `keep` makes of the states (layers, tokens, width) that leave the layers, on the CPU; each row is computed once.

    Memory is what is kept, and a batch's states of all layers: 47 MB where 18 layers are 640 wide. Raises `ValueError` for a body that computes its
    first layers only once, since these are then not seen.
    """
    check_whole(body)

    def work(batch: list[tuple[TokenRow, Callable[[Tensor], Tensor]]]) -> list[Tensor]:
        seen: list[Tensor] = []
        with at_layers(body.model, lambda number, states: seen.append(states)):
            body([row for row, _ in batch])
        # Row by row: a stack of the whole batch would hold its states twice.
        return [own(torch.stack([states[index, : len(row.ids)] for states in seen])).cpu() for index, (row, own) in enumerate(batch)]

    return mapped_by_length(list(zip(rows, keep, strict=True)), lambda item: len(item[0].ids), TOKEN_BUDGET, work)


def mean_prompt_states(body: Body, sequences: Sequence[TokenSequence]) -> Tensor:
    """The states (layers, sequences, width), fp32, means over the tokens of each prompt but the first.

    That one is the same in all texts; attention dumps on it what it has no use for, and its length would drown the others.
    """
    kept = [partial(_prompt_mean, end=own.label_from) for own in sequences]
    return torch.stack(layer_states(body, sequence_rows(sequences), kept), dim=1)


def mean_text_states(body: Body, texts: Sequence[TokenSequence]) -> Tensor:
    """As `mean_prompt_states`, of whole texts, but for the token that ends each."""
    return mean_prompt_states(body, [replace(own, label_from=len(own.ids) - 1) for own in texts])


def check_whole(body: Body) -> None:
    """Raise `ValueError` for a body whose first layers are not computed in every pass."""
    if body.frozen_layers:
        raise ValueError(f"the first {body.frozen_layers} layers of this body are computed only once; give Body(model)")


def _prompt_mean(states: Tensor, end: int) -> Tensor:
    return states[:, 1:end].float().mean(1)
