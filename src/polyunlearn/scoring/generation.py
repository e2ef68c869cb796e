"""Greedy and sampled answers to many prompts: left-padded batches, large whatever the lengths; a row leaves its batch as soon as its answer ends."""

from collections.abc import Callable, Sequence
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

LEAST_FILL = 0.0
"""Prompts are read already, so padding them costs next to nothing, and a batch that is split reads every weight once more."""

SAMPLED_AT_ONCE = 32
"""Answers whose probabilities over the whole vocabulary are there at a time."""

BLOCK = 1024
"""Tokens of the vocabulary whose probabilities are summed together where a token is drawn."""

Chooser = Callable[[Tensor, list[int], int], Tensor]
"""Chooses the next token of each row, from hidden states (rows, width): `rows` are their numbers in the batch, and the step is the number of the token."""


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
    return [answer_text(encoder, tokens) for tokens in greedy_tokens(model, head, encoder, prompts, max_new_tokens)]


@torch.no_grad()
def greedy_tokens(
    model: PreTrainedModel, head: OutputHead, encoder: Encoder, prompts: Sequence[PromptStates], max_new_tokens: int
) -> list[list[int]]:
    """The most probable next tokens of each prompt, up to and with the first that ends an answer.

    `head` is the whole output layer of `model`. Logits are computed for the last position alone.
    """
    ends = torch.tensor(answer_ends(model, encoder), device=model.device)
    return mapped_by_length(
        prompts,
        lambda prompt: prompt.length + max_new_tokens,
        ANSWER_BUDGET,
        lambda batch: _continue(model, batch, ends, max_new_tokens, lambda last, rows, step: head.most_probable(last)),
        least_fill=LEAST_FILL,
    )


@torch.no_grad()
def sampled_answers(
    model: PreTrainedModel,
    head: OutputHead,
    encoder: Encoder,
    prompts: Sequence[PromptStates],
    max_new_tokens: int,
    samples: int,
    temperature: float,
    generator: torch.Generator,
) -> list[list[str]]:
    r"""`samples` continuations of each prompt, as texts that end where greedy ones do, each token drawn from

    .. math:: p_i \propto \exp(z_i / T)

    over the whole vocabulary, `temperature` being T. Nothing is cut off the tail. Each prompt takes `samples` × `max_new_tokens` uniform numbers from
    `generator` (on the CPU), one for every token that it could write, so what is drawn depends on the prompts before it alone, not on batches or on
    how long other answers are. Raises `ValueError` where the temperature is not above 0.
    """
    if temperature <= 0:
        raise ValueError(f"a temperature must be above 0, not {temperature}; for the most probable tokens use greedy_answers")
    uniform = [torch.rand(samples, max_new_tokens, generator=generator, dtype=torch.float64) for _ in prompts]
    items = [(prompt, own) for prompt, drawn in zip(prompts, uniform, strict=True) for own in drawn]
    ends = torch.tensor(answer_ends(model, encoder), device=model.device)

    def work(batch: list[tuple[PromptStates, Tensor]]) -> list[list[int]]:
        drawn = torch.stack([own for _, own in batch])

        def choose(last: Tensor, rows: list[int], step: int) -> Tensor:
            parts = zip(torch.split(last, SAMPLED_AT_ONCE), torch.split(drawn[rows, step], SAMPLED_AT_ONCE), strict=True)
            return torch.cat([drawn_tokens(head.logits(hidden), temperature, own.to(hidden.device)) for hidden, own in parts])

        return _continue(model, [prompt for prompt, _ in batch], ends, max_new_tokens, choose)

    written = mapped_by_length(items, lambda item: item[0].length + max_new_tokens, ANSWER_BUDGET, work, least_fill=LEAST_FILL)
    answers = [answer_text(encoder, tokens) for tokens in written]
    return [answers[at : at + samples] for at in range(0, len(answers), samples)]


def drawn_tokens(logits: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    r"""The token of each row of logits (rows, vocabulary) that a number (rows,) in [0, 1) stands for: the first whose cumulative probability exceeds it.

    .. math:: \min \{ i : \sum_{j \le i} p_j > u \}
    """
    scaled = logits.float() / temperature
    weights = (scaled - scaled.amax(1, keepdim=True)).exp_()
    count = weights.shape[1]
    blocks = torch.nn.functional.pad(weights, (0, -count % BLOCK)).view(len(weights), -1, BLOCK)
    # Summed in fp64: in fp32 a vocabulary of 262,144 tokens would lose the improbable ones. First the block is found, then the token in it, so that
    # the sums of all the others are never written.
    after = blocks.sum(2, dtype=torch.float64).cumsum(1)
    wanted = uniform.double()[:, None] * after[:, -1:]
    block = torch.searchsorted(after, wanted, right=True).clamp(max=after.shape[1] - 1)
    before = torch.nn.functional.pad(after, (1, 0)).gather(1, block)
    inside = blocks[torch.arange(len(blocks), device=blocks.device), block[:, 0]].double().cumsum(1)
    return (block * BLOCK + torch.searchsorted(before + inside, wanted, right=True).clamp(max=BLOCK - 1))[:, 0].clamp(max=count - 1)


def answer_ends(model: PreTrainedModel, encoder: Encoder) -> list[int]:
    """The tokens that end an answer: the tokeniser's, those that the model itself would stop at, and a new line."""
    own = getattr(model.generation_config, "eos_token_id", None)
    named = own if isinstance(own, list) else [own] if own is not None else []
    return [encoder.end_id, *named, *encoder.newline_ids]


def answer_text(encoder: Encoder, tokens: list[int]) -> str:
    """The first line of what was written."""
    return next(iter(encoder.tokenizer.decode(tokens, skip_special_tokens=True).splitlines()), "").strip()


def _continue(model: PreTrainedModel, prompts: list[PromptStates], ends: Tensor, max_new_tokens: int, choose: Chooser) -> list[list[int]]:
    """The tokens that follow each prompt, as `choose` has them, its end token included where it wrote one."""
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
        rows = open_rows.tolist()
        chosen = choose(last, rows, number)
        for row, token in zip(rows, chosen.tolist(), strict=True):
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
