"""The body of a model: token rows in, hidden states out, with the states below the first trainable layer computed once.

Where only layers from k on train, what enters layer k never changes: not over the passes of a training, and not between the states
of a study. It is kept per row and reused, exactly.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.models.batching import TOKEN_BUDGET, mapped_by_length, padded


@dataclass(frozen=True)
class TokenRow:
    """Tokens that share one forward pass: a prompt (branch 0) and branches behind it, each of which sees the prompt and itself.

    Plain text is a row of branch 0 alone. `positions` are those that each token would have with its own branch only.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    branches: tuple[int, ...]

    @classmethod
    def plain(cls, ids: tuple[int, ...]) -> "TokenRow":
        """A row of running text."""
        return cls(ids, tuple(range(len(ids))), (0,) * len(ids))

    @property
    def prompt_length(self) -> int:
        """How many of the tokens are the prompt's."""
        return self.branches.count(0)


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


@dataclass(frozen=True)
class _Lower:
    """What the frozen layers make of a row: the states that leave them and, where asked for, the keys and values of its prompt."""

    states: Tensor
    keys_values: tuple[Tensor, ...] | None

    @property
    def nbytes(self) -> int:
        return self.states.nbytes + sum(part.nbytes for part in self.keys_values or ())


class Body(nn.Module):
    """Hidden states after the last layer and its norm. `frozen_layers` says how many layers, from the first, never train.

    At most `cache_bytes` of their output are kept; rows beyond that are computed each time they are asked for.

    A row's states depend, in their last bits, on the rows computed beside it. `keep` and `start_afresh` make what a caller sees
    depend on nothing that happened before.
    """

    def __init__(self, model: PreTrainedModel, frozen_layers: int = 0, cache_bytes: int = 2**30):
        super().__init__()
        base = model.base_model
        count = len(decoder_layers(model))
        self.model = model
        self._lower = _part(base, 0, frozen_layers, with_norm=False) if frozen_layers else None
        self._upper = _part(base, frozen_layers, count, with_norm=True) if frozen_layers else base
        self._window = _window(model)
        self._kept: dict[TokenRow, _Lower] = {}
        self._cache: dict[TokenRow, _Lower] = {}
        self._room = cache_bytes

    def forward(self, rows: Sequence[TokenRow]) -> Tensor:
        """Hidden states (rows, longest, width); those at padding mean nothing."""
        return self._run(rows, self._padded(self._lower_states(rows, read=False)), None)

    def read(self, rows: Sequence[TokenRow]) -> tuple[Tensor, list[PromptStates]]:
        """Hidden states as from `forward`, and what each row's prompt leaves to an answer."""
        cache = DynamicCache()
        lower = self._lower_states(rows, read=True)
        hidden = self._run(rows, self._padded(lower), cache)
        upper = [_prompt_keys_values(cache, index, row) for index, row in enumerate(rows)]
        below = [part.keys_values or () for part in lower] if lower else [()] * len(rows)
        ends = [row.prompt_length - 1 for row in rows]
        return hidden, [
            PromptStates(states[end].clone(), (*low, *high)) for states, end, low, high in zip(hidden, ends, below, upper, strict=True)
        ]

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        """Hidden states (tokens, width) of rows of plain text laid end to end in one pass: no padding, and none sees another."""
        joined = TokenRow(
            tuple(token for row in rows for token in row.ids),
            tuple(position for row in rows for position in row.positions),
            tuple(number for number, row in enumerate(rows, start=1) for _ in row.ids),
        )
        lower = self._lower_states(rows, read=False)
        return self._run([joined], torch.cat([part.states for part in lower])[None] if lower else None, None)[0]

    def _run(self, rows: Sequence[TokenRow], entering: Tensor | None, cache: DynamicCache | None) -> Tensor:
        ids, mask, positions = self._inputs(rows)
        entry = {"input_ids": ids} if entering is None else {"inputs_embeds": entering}
        keeping = {"past_key_values": cache, "use_cache": cache is not None}
        hidden: Tensor = self._upper(**entry, attention_mask=mask, position_ids=positions, **keeping).last_hidden_state
        return hidden

    def keep(self, rows: Sequence[TokenRow], read: Collection[TokenRow] = ()) -> None:
        """Compute what these rows need now, in one go, and keep it until the next call; what was kept before is let go.

        Rows that are also in `read` are kept for `read`, with the keys and values of their prompts.
        """
        for part in (*self._kept.values(), *self._cache.values()):
            self._room += part.nbytes
        self._kept, self._cache = {}, {}
        self._kept = self._within_room(self._compute(rows, read))

    def start_afresh(self) -> None:
        """Forget what was computed for rows that `keep` does not hold."""
        for part in self._cache.values():
            self._room += part.nbytes
        self._cache = {}

    def _lower_states(self, rows: Sequence[TokenRow], read: bool) -> list[_Lower]:
        """Each row's states below the first trainable layer; empty where every layer trains."""
        if self._lower is None:
            return []
        known = {row: part for row in rows if (part := self._cache.get(row) or self._kept.get(row)) and (part.keys_values or not read)}
        lacking = [row for row in rows if row not in known]
        computed = self._compute(lacking, lacking if read else ())
        # A row that was there without its prompt's keys and values makes way.
        self._room += sum(self._cache.pop(row).nbytes for row in computed if row in self._cache)
        self._cache |= self._within_room(computed)
        known |= computed
        return [known[row] for row in rows]

    @staticmethod
    def _padded(lower: list[_Lower]) -> Tensor | None:
        return nn.utils.rnn.pad_sequence([part.states for part in lower], batch_first=True) if lower else None

    @torch.no_grad()
    def _compute(self, rows: Sequence[TokenRow], read: Collection[TokenRow]) -> dict[TokenRow, _Lower]:
        lower = self._lower
        if lower is None:
            return {}
        with_prompts = set(read)

        def work(batch: list[TokenRow]) -> list[_Lower]:
            ids, mask, positions = self._inputs(batch)
            cache = DynamicCache()
            hidden = lower(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            ).last_hidden_state
            prompts = [_prompt_keys_values(cache, index, row) if row in with_prompts else None for index, row in enumerate(batch)]
            return [_Lower(h[: len(row.ids)].clone(), prompt) for h, row, prompt in zip(hidden, batch, prompts, strict=True)]

        distinct = list(dict.fromkeys(rows))
        return dict(zip(distinct, mapped_by_length(distinct, lambda row: len(row.ids), TOKEN_BUDGET, work), strict=True))

    def _within_room(self, computed: dict[TokenRow, _Lower]) -> dict[TokenRow, _Lower]:
        fitting = {}
        for row, part in computed.items():
            if part.nbytes <= self._room:
                fitting[row] = part
                self._room -= part.nbytes
        return fitting

    def _inputs(self, rows: Sequence[TokenRow]) -> tuple[Tensor, Tensor | dict[str, Tensor], Tensor]:
        device = self.model.device
        ids, positions = padded([row.ids for row in rows]), padded([row.positions for row in rows])
        branches = padded([row.branches for row in rows], fill=-1)
        distance = positions[:, :, None] - positions[:, None, :]
        sees = ((branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])) & (distance >= 0)
        # Positions repeat at padding and between branches; only what stands earlier in the row, or itself, is seen.
        sees &= torch.ones(ids.shape[1], ids.shape[1]).tril().bool()
        full = sees[:, None].to(device)
        if self._window is None:
            return ids.to(device), full, positions.to(device)
        near = (sees & (distance < self._window))[:, None].to(device)
        return ids.to(device), {"full_attention": full, "sliding_attention": near}, positions.to(device)


def _prompt_keys_values(cache: DynamicCache, index: int, row: TokenRow) -> tuple[Tensor, ...]:
    """The keys and values of the prompt of `row`, the batch's row `index`: (2, heads, tokens, head width) for each layer that filled `cache`."""
    layers = [layer for layer in cache.layers if layer.is_initialized]
    size = row.prompt_length
    return tuple(torch.stack([layer.keys[index, :, :size], layer.values[index, :, :size]]) for layer in layers)


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The stack of decoder layers of a causal language model; raises `UserError` where it is not found."""
    layers = getattr(model.base_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UserError(f"{type(model).__name__}: its decoder layers were not found; use a Llama-, Qwen- or Gemma-type model")
    return layers


def _part(base: nn.Module, first: int, last: int, *, with_norm: bool) -> nn.Module:
    """The same model with some of its layers only; it shares their weights."""
    part = copy.copy(base)
    part._modules = dict(base._modules)
    part._modules["layers"] = nn.ModuleList(list(base.layers)[first:last])  # type: ignore[arg-type]
    if not with_norm:
        part._modules["norm"] = nn.Identity()
    config = copy.deepcopy(base.config)
    config.num_hidden_layers = last - first  # type: ignore[union-attr]
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[first:last]  # type: ignore[union-attr,index]
    part.config = config
    return part


def _window(model: PreTrainedModel) -> int | None:
    """The attention window of the model's sliding layers, where it alternates them with full ones."""
    return int(model.config.sliding_window) if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()) else None
