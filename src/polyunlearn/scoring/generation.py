"""Greedy answers to many prompts: left-padded batches of like length, stopped row by row at a token that ends an answer."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from polyunlearn.models.batching import TOKEN_BUDGET, batches_by_length
from polyunlearn.models.sequences import Encoder


@torch.no_grad()
def greedy_answers(model: PreTrainedModel, encoder: Encoder, prompts: Sequence[tuple[int, ...]], max_new_tokens: int) -> list[str]:
    """The greedy continuation of each prompt, as text, up to the end token, a new line, or `max_new_tokens`."""
    answers = [""] * len(prompts)
    ends = [encoder.end_id, *encoder.newline_ids]
    for batch in batches_by_length([len(prompt) + max_new_tokens for prompt in prompts], TOKEN_BUDGET):
        longest = max(len(prompts[i]) for i in batch)
        ids = torch.full((len(batch), longest), encoder.end_id)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(batch):
            ids[row, longest - len(prompts[i]) :] = torch.tensor(prompts[i])
            mask[row, longest - len(prompts[i]) :] = 1
        written = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=encoder.end_id,
        )
        for row, i in enumerate(batch):
            text = encoder.tokenizer.decode(written[row, longest:], skip_special_tokens=True)
            answers[i] = next(iter(text.splitlines()), "").strip()
    return answers
