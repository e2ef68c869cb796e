"""The body of a model: token rows in, hidden states out, with the states below the first trainable layer computed once.

Where only layers from k on train, what enters layer k never changes: not over the passes of a training, and not between the states
of a study. It is kept per row and reused, exactly.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.models.batching import TOKEN_BUDGET, batches_by_length, padded


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
        self._kept: dict[TokenRow, Tensor] = {}
        self._cache: dict[TokenRow, Tensor] = {}
        self._room = cache_bytes

    def forward(self, rows: Sequence[TokenRow]) -> Tensor:
        """Hidden states (rows, longest, width); those at padding mean nothing."""
        return self._run(rows, None if self._lower is None else nn.utils.rnn.pad_sequence(self._entering(rows), batch_first=True))

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        """Hidden states (tokens, width) of rows of plain text laid end to end in one pass: no padding, and none sees another."""
        joined = TokenRow(
            tuple(token for row in rows for token in row.ids),
            tuple(position for row in rows for position in row.positions),
            tuple(number for number, row in enumerate(rows, start=1) for _ in row.ids),
        )
        return self._run([joined], None if self._lower is None else torch.cat(self._entering(rows))[None])[0]

    def _run(self, rows: Sequence[TokenRow], entering: Tensor | None) -> Tensor:
        ids, mask, positions = self._inputs(rows)
        entry = {"input_ids": ids} if entering is None else {"inputs_embeds": entering}
        hidden: Tensor = self._upper(**entry, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state
        return hidden

    def keep(self, rows: Sequence[TokenRow]) -> None:
        """Compute what these rows need now, in one go, and keep it until the next call; what was kept before is let go."""
        for states in (*self._kept.values(), *self._cache.values()):
            self._room += states.nbytes
        self._kept, self._cache = {}, {}
        self._kept = self._within_room(self._compute(rows))

    def start_afresh(self) -> None:
        """Forget what was computed for rows that `keep` does not hold."""
        for states in self._cache.values():
            self._room += states.nbytes
        self._cache = {}

    def _entering(self, rows: Sequence[TokenRow]) -> list[Tensor]:
        found = [self._kept.get(row, self._cache.get(row)) for row in rows]
        computed = self._compute([row for row, states in zip(rows, found, strict=True) if states is None])
        self._cache |= self._within_room(computed)
        return [computed[row] if states is None else states for row, states in zip(rows, found, strict=True)]

    @torch.no_grad()
    def _compute(self, rows: Sequence[TokenRow]) -> dict[TokenRow, Tensor]:
        if self._lower is None:
            return {}
        result: dict[TokenRow, Tensor] = {}
        distinct = list(dict.fromkeys(rows))
        for batch in batches_by_length([len(row.ids) for row in distinct], TOKEN_BUDGET):
            chosen = [distinct[i] for i in batch]
            ids, mask, positions = self._inputs(chosen)
            hidden = self._lower(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state
            result |= {row: states[: len(row.ids)].clone() for row, states in zip(chosen, hidden, strict=True)}
        return result

    def _within_room(self, computed: dict[TokenRow, Tensor]) -> dict[TokenRow, Tensor]:
        fitting = {}
        for row, states in computed.items():
            if states.nbytes <= self._room:
                fitting[row] = states
                self._room -= states.nbytes
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
