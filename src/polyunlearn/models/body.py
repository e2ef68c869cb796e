"""The body of a model: token rows in, hidden states out, with the states below the first trainable layer computed once.

Where only layers from k on train, what enters layer k never changes: not over the passes of a training, and not between the states
of a study. It is kept per row and reused, exactly.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.models.batching import TOKEN_BUDGET, even_groups, mapped_by_length, padded
from polyunlearn.models.rows import TokenRow

LINE_TOKENS = 128
"""Tokens of a packed pass that stand in one line: attention costs the square of a line's length, and shorter lines fill less evenly."""

KEPT_AT_ONCE = 128
"""Rows that `Body.keep` computes between two looks at the room that is left."""


@dataclass(frozen=True)
class _Lower:
    """What the frozen layers make of a row: the states that leave them, and the keys and values of the places that it reads."""

    states: Tensor
    keys_values: tuple[Tensor, ...]

    @property
    def nbytes(self) -> int:
        return self.states.nbytes + sum(part.nbytes for part in self.keys_values)


class Body(nn.Module):
    """Hidden states after the last layer and its norm. `frozen_layers` says how many layers, from the first, never train.

    At most `cache_bytes` of their output are kept; rows beyond that are computed each time they are asked for. A model with dropout
    gives another output each time, so nothing of it is kept.

    A row's states depend, in their last bits, on the rows computed beside it. `keep` and `start_afresh` make what a caller sees
    depend on nothing that happened before.
    """

    def __init__(self, model: PreTrainedModel, frozen_layers: int = 0, cache_bytes: int = 2**30):
        super().__init__()
        base = model.base_model
        count = len(decoder_layers(model))
        frozen_layers = 0 if has_dropout(model) else frozen_layers
        self.model = model
        self.frozen_layers = frozen_layers
        self.real: Tensor | None = None
        """Of the last pass through the layers that train, which places (lines, longest) are tokens, and not padding behind them."""
        self._lower = _part(base, 0, frozen_layers, with_norm=False) if frozen_layers else None
        self._upper = _part(base, frozen_layers, count, with_norm=True) if frozen_layers else base
        self._window = _window(model)
        self._longest = _longest(model.config)
        self._kept: dict[TokenRow, _Lower] = {}
        self._cache: dict[TokenRow, _Lower] = {}
        self._room = cache_bytes

    def forward(self, rows: Sequence[TokenRow]) -> Tensor:
        """Hidden states (rows, longest, width); those at padding mean nothing."""
        return self._run(rows, self._padded(self._lower_states(rows)), None)

    def read(self, rows: Sequence[TokenRow]) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Hidden states as from `forward`, and for each row the keys and values of the places that it reads.

        The latter are a tensor (2, heads, places, head width) a layer.
        """
        cache = DynamicCache()
        lower = self._lower_states(rows)
        hidden = self._run(rows, self._padded(lower), cache)
        below = [part.keys_values for part in lower] if lower else [()] * len(rows)
        return hidden, [(*low, *_keys_values(cache, index, row)) for index, (row, low) in enumerate(zip(rows, below, strict=True))]

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        """Hidden states (tokens, width) of rows laid end to end, in their order: none sees another.

        They are computed in lines of about `LINE_TOKENS`, filled evenly, so that there is next to no padding and no attention over a long line.
        """
        lower = self._lower_states(rows)
        lines = even_groups([len(row.ids) for row in rows], LINE_TOKENS)
        joined = [TokenRow.joined([rows[index] for index in line]) for line in lines]
        entering = [torch.cat([lower[index].states for index in line]) for line in lines] if lower else None
        hidden = self._run(joined, nn.utils.rnn.pad_sequence(entering, batch_first=True) if entering else None, None)
        return _in_order(hidden, lines, rows)

    def packed_and_watched(self, rows: Sequence[TokenRow], layer: int) -> tuple[Tensor, Tensor]:
        """What `packed` gives, and the states (tokens, width) that leave layer `layer`, from 0; raises `ValueError` for a frozen layer."""
        if layer < self.frozen_layers:
            raise ValueError(f"layer {layer} does not train, so there is nothing to watch; the first that trains is {self.frozen_layers}")
        seen: list[Tensor] = []

        def watch(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            seen.append(output if isinstance(output, Tensor) else output[0])

        hook = decoder_layers(self.model)[layer].register_forward_hook(watch)
        try:
            hidden = self.packed(rows)
        finally:
            hook.remove()
        return hidden, _in_order(seen[0], even_groups([len(row.ids) for row in rows], LINE_TOKENS), rows)

    def _run(self, rows: Sequence[TokenRow], entering: Tensor | None, cache: DynamicCache | None) -> Tensor:
        ids, mask, positions = self._inputs(rows)
        self.real = torch.arange(ids.shape[1]) < torch.tensor([len(row.ids) for row in rows])[:, None]
        entry = {"input_ids": ids} if entering is None else {"inputs_embeds": entering}
        keeping = {"past_key_values": cache, "use_cache": cache is not None}
        hidden: Tensor = self._upper(**entry, attention_mask=mask, position_ids=positions, **keeping).last_hidden_state
        return hidden

    def keep(self, rows: Sequence[TokenRow]) -> int:
        """Compute what these rows need now, and keep it until the next call; what was kept before is let go.

        Returns how many of the distinct rows found no room: they are computed each time they are asked for.
        """
        for part in (*self._kept.values(), *self._cache.values()):
            self._room += part.nbytes
        self._kept, self._cache = {}, {}
        distinct = list(dict.fromkeys(rows))
        for at in range(0, len(distinct), KEPT_AT_ONCE):
            computed = self._compute(distinct[at : at + KEPT_AT_ONCE])
            fitting = self._within_room(computed)
            self._kept |= fitting
            if len(fitting) < len(computed):
                break
        return len(distinct) - len(self._kept) if self._lower is not None else 0

    def start_afresh(self) -> None:
        """Forget what was computed for rows that `keep` does not hold."""
        for part in self._cache.values():
            self._room += part.nbytes
        self._cache = {}

    def _lower_states(self, rows: Sequence[TokenRow]) -> list[_Lower]:
        """Each row's states below the first trainable layer; empty where every layer trains."""
        if self._lower is None:
            return []
        known = {row: part for row in rows if (part := self._cache.get(row) or self._kept.get(row))}
        computed = self._compute([row for row in rows if row not in known])
        self._cache |= self._within_room(computed)
        known |= computed
        return [known[row] for row in rows]

    @staticmethod
    def _padded(lower: list[_Lower]) -> Tensor | None:
        return nn.utils.rnn.pad_sequence([part.states for part in lower], batch_first=True) if lower else None

    @torch.no_grad()
    def _compute(self, rows: Sequence[TokenRow]) -> dict[TokenRow, _Lower]:
        lower = self._lower
        if lower is None:
            return {}

        def work(batch: list[TokenRow]) -> list[_Lower]:
            ids, mask, positions = self._inputs(batch)
            cache = DynamicCache()
            hidden = lower(
                input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            ).last_hidden_state
            return [
                _Lower(states[: len(row.ids)].clone(), _keys_values(cache, index, row))
                for index, (states, row) in enumerate(zip(hidden, batch, strict=True))
            ]

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
        if self._longest is not None and (longest := max(position for row in rows for position in row.positions) + 1) > self._longest:
            raise UserError(
                f"{type(self.model).__name__}: a text of {longest} tokens, and beyond {self._longest} this model is computed in a way that is not "
                "supported; shorten the texts"
            )
        ids, positions, ends = (padded(part) for part in zip(*[(row.ids, row.positions, row.ends) for row in rows], strict=True))
        place = torch.arange(ids.shape[1])
        sees = (place[None, :] <= place[:, None]) & (place[None, :, None] < ends[:, None, :])
        # Padding sees itself: a row of the mask that sees nothing has no softmax.
        sees |= place[None, :] == place[:, None]
        full = self._mask(sees)
        if self._window is None:
            return ids.to(device), full, positions.to(device)
        near = self._mask(sees & (positions[:, :, None] - positions[:, None, :] < self._window))
        return ids.to(device), {"full_attention": full, "sliding_attention": near}, positions.to(device)

    def _mask(self, sees: Tensor) -> Tensor:
        """Which place sees which (rows, longest, longest), as the model's kind of attention reads it: eager attention adds it to the scores."""
        mask = sees[:, None].to(self.model.device)
        if attention_of(self.model.config) == "sdpa":
            return mask
        lowest = torch.finfo(self.model.dtype).min
        return torch.zeros(mask.shape, dtype=self.model.dtype, device=mask.device).masked_fill(~mask, lowest)


def attention_of(config: PretrainedConfig) -> str:
    """The kind of attention that a model is computed with: "eager" where it caps the scores, which "sdpa" cannot."""
    return "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"


def has_dropout(model: PreTrainedModel) -> bool:
    """Whether training the model drops anything at random."""
    return getattr(model.config, "attention_dropout", 0) > 0 or any(isinstance(m, nn.Dropout) and m.p > 0 for m in model.modules())


def _in_order(states: Tensor, lines: Sequence[Sequence[int]], rows: Sequence[TokenRow]) -> Tensor:
    """States (lines, longest, width) of rows laid out in lines, as (tokens, width) in the order of the rows."""
    parts: dict[int, Tensor] = {}
    for line, own in zip(lines, states, strict=True):
        sizes = [len(rows[index].ids) for index in line]
        parts |= zip(line, torch.split(own[: sum(sizes)], sizes), strict=True)
    return torch.cat([parts[index] for index in range(len(rows))])


def _keys_values(cache: DynamicCache, index: int, row: TokenRow) -> tuple[Tensor, ...]:
    """The keys and values of the places that `row`, the batch's row `index`, reads, for each layer that filled `cache`; none where it reads none."""
    if not row.reads:
        return ()
    places = torch.tensor(row.reads)
    layers = [layer for layer in cache.layers if layer.is_initialized]
    return tuple(torch.stack([layer.keys[index][:, places], layer.values[index][:, places]]) for layer in layers)


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


def _longest(config: PretrainedConfig) -> int | None:
    """Up to how many tokens a text is computed as the model computes it: where every layer attends to a window and none is named for it, as in Mistral's
    first, and where positions are scaled by the longest text of a pass. None where there is no bound."""
    window = getattr(config, "sliding_window", None)
    if not window or getattr(config, "layer_types", None) or getattr(config, "use_sliding_window", True) is False:
        window = None
    ropes = getattr(config, "rope_parameters", None) or {}
    # One for all layers, or one for each of their types.
    scaled = [own for own in (ropes, *ropes.values()) if isinstance(own, dict) and own.get("rope_type") in ("dynamic", "longrope")]
    original = getattr(config, "original_max_position_embeddings", None) or getattr(config, "max_position_embeddings", None)
    bounds = [window, *(own.get("original_max_position_embeddings") or original for own in scaled)]
    return min((int(bound) for bound in bounds if bound), default=None)


def _window(model: PreTrainedModel) -> int | None:
    """The attention window of the model's sliding layers, where it alternates them with full ones."""
    return int(model.config.sliding_window) if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()) else None
