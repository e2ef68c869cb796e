"""Greedy answers to many prompts: left-padded batches of like length; a row leaves its batch as soon as its answer ends."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from polyunlearn.models.batching import batches_by_length
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.sequences import Encoder

TOKEN_BUDGET = 2048
"""Padded tokens in a batch, answers included: each new token reads every weight once for the whole batch, so batches are large."""


def greedy_answers(
    model: PreTrainedModel, head: OutputHead, encoder: Encoder, prompts: Sequence[tuple[int, ...]], max_new_tokens: int
) -> list[str]:
    """The greedy continuation of each prompt, as text, up to the end token, a new line, or `max_new_tokens`."""
    written = greedy_tokens(model, head, encoder, prompts, max_new_tokens)
    lines = [encoder.tokenizer.decode(tokens, skip_special_tokens=True).splitlines() for tokens in written]
    return [next(iter(line), "").strip() for line in lines]


@torch.no_grad()
def greedy_tokens(
    model: PreTrainedModel, head: OutputHead, encoder: Encoder, prompts: Sequence[tuple[int, ...]], max_new_tokens: int
) -> list[list[int]]:
    """The most probable next tokens of each prompt, up to and with the first that ends an answer.

    `head` is the whole output layer of `model`. Logits are computed for the last position alone.
    """
    ends = torch.tensor([encoder.end_id, *encoder.newline_ids], device=model.device)
    answers: list[list[int]] = [[]] * len(prompts)
    for batch in batches_by_length([len(prompt) + max_new_tokens for prompt in prompts], TOKEN_BUDGET):
        for index, written in zip(batch, _continue(model, head, [prompts[i] for i in batch], ends, max_new_tokens), strict=True):
            answers[index] = written
    return answers


def _continue(
    model: PreTrainedModel, head: OutputHead, prompts: list[tuple[int, ...]], ends: Tensor, max_new_tokens: int
) -> list[list[int]]:
    """The tokens that follow each prompt, its end token included where it wrote one."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    written: list[list[int]] = [[] for _ in prompts]
    open_rows = torch.arange(len(prompts), device=model.device)
    for _ in range(max_new_tokens):
        state = model.base_model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
        chosen = head.most_probable(state.last_hidden_state[:, -1])
        for row, token in zip(open_rows.tolist(), chosen.tolist(), strict=True):
            written[row].append(token)
        goes_on = (~torch.isin(chosen, ends)).nonzero()[:, 0]
        if not len(goes_on):
            break
        if len(goes_on) < len(chosen):
            cache.batch_select_indices(goes_on)
        open_rows, ids, positions = open_rows[goes_on], chosen[goes_on, None], positions[goes_on, -1:] + 1
        mask = torch.nn.functional.pad(mask[goes_on], (0, 1), value=1)
    return written
