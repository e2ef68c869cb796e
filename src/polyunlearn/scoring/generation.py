"""Greedy answers to many prompts: left-padded batches, large whatever the lengths; a row leaves its batch as soon as its answer ends."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from polyunlearn.models.batching import TOKEN_BUDGET, mapped_by_length
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import Encoder

ANSWER_BUDGET = 8192
"""Padded tokens in a batch, answers included: each new token reads every weight once for the whole batch, so batches are large."""


@dataclass(frozen=True)
class PromptStates:
    """What a prompt leaves to the tokens that follow it.

    `last` (width,) is the hidden state of its last token after the norm; `keys_values` has a tensor (2, heads, tokens, head width) a
    layer.
    """

    last: Tensor
    keys_values: tuple[Tensor, ...]

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return int(self.keys_values[0].shape[2])


@torch.no_grad()
def read_prompts(body: Body, prompts: Sequence[tuple[int, ...]]) -> list[PromptStates]:
    """The states of prompts, in the order given; ranking gives them beside its scores (`ranking.rank_and_read`)."""
    rows = [replace(TokenRow.plain(prompt), reads=tuple(range(len(prompt)))) for prompt in prompts]

    def work(batch: list[TokenRow]) -> list[PromptStates]:
        hidden, read = body.read(batch)
        ends = [len(row.ids) - 1 for row in batch]
        return [PromptStates(states[end].clone(), own) for states, end, own in zip(hidden, ends, read, strict=True)]

    return mapped_by_length(rows, lambda row: len(row.ids), TOKEN_BUDGET, work)


def greedy_answers(
    model: PreTrainedModel, head: OutputHead, encoder: Encoder, prompts: Sequence[PromptStates], max_new_tokens: int
) -> list[str]:
    """The greedy continuation of each prompt, as text, up to the end token, a new line, or `max_new_tokens`."""
    written = greedy_tokens(model, head, encoder, prompts, max_new_tokens)
    lines = [encoder.tokenizer.decode(tokens, skip_special_tokens=True).splitlines() for tokens in written]
    return [next(iter(line), "").strip() for line in lines]


@torch.no_grad()
def greedy_tokens(
    model: PreTrainedModel, head: OutputHead, encoder: Encoder, prompts: Sequence[PromptStates], max_new_tokens: int
) -> list[list[int]]:
    """The most probable next tokens of each prompt, up to and with the first that ends an answer.

    `head` is the whole output layer of `model`. Logits are computed for the last position alone.
    """
    ends = torch.tensor([encoder.end_id, *encoder.newline_ids], device=model.device)
    return mapped_by_length(
        prompts,
        lambda prompt: prompt.length + max_new_tokens,
        ANSWER_BUDGET,
        lambda batch: _continue(model, head, batch, ends, max_new_tokens),
        # The prompts are read already, so padding them costs next to nothing, and a batch that is split reads every weight once more.
        least_fill=0.0,
    )


def _continue(model: PreTrainedModel, head: OutputHead, prompts: list[PromptStates], ends: Tensor, max_new_tokens: int) -> list[list[int]]:
    """The tokens that follow each prompt, its end token included where it wrote one."""
    longest = max(prompt.length for prompt in prompts)
    pads = [longest - prompt.length for prompt in prompts]
    cache = DynamicCache(config=model.config)
    for layer in range(len(prompts[0].keys_values)):
        padded = [torch.nn.functional.pad(p.keys_values[layer], (0, 0, pad, 0)) for p, pad in zip(prompts, pads, strict=True)]
        cache.update(*torch.stack(padded, dim=1), layer)
    mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads], device=model.device)
    positions = torch.tensor([[prompt.length] for prompt in prompts], device=model.device)
    written: list[list[int]] = [[] for _ in prompts]
    open_rows = torch.arange(len(prompts), device=model.device)
    last = torch.stack([prompt.last for prompt in prompts])
    for number in range(max_new_tokens):
        chosen = head.most_probable(last)
        for row, token in zip(open_rows.tolist(), chosen.tolist(), strict=True):
            written[row].append(token)
        goes_on = (~torch.isin(chosen, ends)).nonzero()[:, 0]
        if not len(goes_on) or number + 1 == max_new_tokens:
            break
        if len(goes_on) < len(chosen):
            cache.batch_select_indices(goes_on)
        open_rows, positions = open_rows[goes_on], positions[goes_on]
        mask = torch.nn.functional.pad(mask[goes_on], (0, 1), value=1)
        state = model.base_model(
            input_ids=chosen[goes_on, None], attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        last, positions = state.last_hidden_state[:, -1], positions + 1
    return written
