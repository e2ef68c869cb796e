"""The forward pass that training and scoring share: hidden states of the body, log-probs only where there is a label.

With a vocabulary of 262,144 tokens the output layer is most of the cost, so it is computed for label positions alone, in chunks
of bounded memory, and log-probs are fp32 whatever the weights are.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import TokenSequence

HEAD_CHUNK_BYTES = 256 * 2**20
"""How much the logits of one chunk of label positions may take, in training and in token tables."""

TOKENS_AT_ONCE = 8192
"""Tokens of the vocabulary whose logits are there at a time where no gradient is asked for."""


@dataclass(frozen=True)
class OutputHead:
    """The output layer, whole or restricted to some tokens.

    `weight` is (columns, width); `column_of` maps a token id to its column, -1 where the token is left out, and is None for the
    whole vocabulary. Logits are `cap * tanh(h @ weight.T / cap)` where the model caps them.
    """

    weight: Tensor
    column_of: Tensor | None
    cap: float | None

    @classmethod
    def of(cls, model: PreTrainedModel) -> "OutputHead":
        """The whole output layer of `model`; it shares the model's weight."""
        layer = model.get_output_embeddings()
        if layer is None or getattr(layer, "bias", None) is not None:
            raise UserError(f"{type(model).__name__}: an output layer with a bias, or none, is not supported; use a decoder-only model")
        return cls(layer.weight, None, getattr(model.config, "final_logit_softcapping", None))

    def restricted(self, token_ids: Sequence[int]) -> "OutputHead":
        """The same layer over `token_ids` alone: a softmax over fewer tokens, so not exact."""
        kept = torch.tensor(sorted(set(token_ids)))
        column_of = torch.full((self.weight.shape[0],), -1, dtype=torch.long)
        column_of[kept] = torch.arange(len(kept))
        return OutputHead(self.weight.detach()[kept].contiguous(), column_of, self.cap)

    def covering(self, tokens: Iterable[int], whole: "OutputHead") -> "OutputHead":
        """This layer, or where it leaves out some of the tokens, the part of the whole one that has its own and these."""
        if self.column_of is None:
            return self
        missing = [token for token in set(tokens) if self.column_of[token] < 0]
        kept = (self.column_of >= 0).nonzero()[:, 0].tolist()
        return whole.restricted([*kept, *missing]) if missing else self

    @property
    def _chunk_size(self) -> int:
        """Positions whose logits are computed at a time."""
        return max(1, HEAD_CHUNK_BYTES // (4 * self.weight.shape[0]))

    def logits(self, hidden: Tensor) -> Tensor:
        """(positions, width) to fp32 logits (positions, columns)."""
        return self._capped(torch.nn.functional.linear(_unrounded(hidden), _unrounded(self.weight)).float())

    def columns(self, token_ids: Tensor) -> Tensor:
        """The columns of tokens; raises `ValueError` for one that the restricted layer leaves out."""
        if self.column_of is None:
            return token_ids
        columns = self.column_of[token_ids.to(self.column_of.device)].to(token_ids.device)
        if bool((columns < 0).any()):
            raise ValueError("a label is not in the restricted vocabulary")
        return columns

    def log_probs(self, hidden: Tensor, token_ids: Tensor) -> Tensor:
        """Log-probability (nats, fp32) of `token_ids` (positions,) given hidden states (positions, width)."""
        if not torch.is_grad_enabled():
            return self.pair_log_probs(hidden, torch.arange(len(hidden), device=hidden.device), token_ids)
        pieces = self.pieces(hidden, token_ids)
        if len(pieces) > 1:
            return torch.cat([checkpoint(self._chunk, h, c, use_reentrant=False) for h, c in pieces])
        return torch.cat([self._chunk(h, c) for h, c in pieces])

    def pieces(self, hidden: Tensor, token_ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Hidden states with the columns of the tokens asked of them, as many at a time as their logits may take memory."""
        size = self._chunk_size
        return list(zip(torch.split(hidden, size), torch.split(self.columns(token_ids), size), strict=True))

    @torch.no_grad()
    def pair_log_probs(self, hidden: Tensor, positions: Tensor, token_ids: Tensor) -> Tensor:
        """Log-probs of (position, token) pairs, where several tokens may be asked of one position, whose normaliser is computed once."""
        parts = [torch.logsumexp(self._capped(logits.float()), 0) for _, logits in self._by_tokens(hidden)]
        normaliser = torch.logsumexp(torch.stack(parts), 0)
        weights = self.weight[self.columns(token_ids)].float()
        found = self._capped((hidden[positions].float() * weights).sum(1)) - normaliser[positions]
        # Summed in another order than the normaliser, so that what is nearly certain could come out a little above.
        return found.clamp(max=0)

    def most_probable(self, hidden: Tensor) -> Tensor:
        """The column of the highest logit at each position (positions, width): the token itself where the vocabulary is whole."""
        hidden = _unrounded(hidden)
        best = torch.full((len(hidden),), -torch.inf, device=hidden.device, dtype=hidden.dtype)
        chosen = torch.zeros(len(hidden), device=hidden.device, dtype=torch.long)
        for at, logits in self._by_tokens(hidden):
            # A cap keeps the order of the logits, so it is left out.
            highest, token = logits.max(0)
            better = highest > best
            best, chosen = torch.where(better, highest, best), torch.where(better, token + at, chosen)
        return chosen

    def _by_tokens(self, hidden: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Uncapped logits (tokens, positions) of `TOKENS_AT_ONCE` columns at a time, with the first column's number.

        They then stay in the CPU's caches, and the long side of the product is the one that its kernels are fast on.
        """
        states = _unrounded(hidden).T.contiguous()
        for at in range(0, len(self.weight), TOKENS_AT_ONCE):
            yield at, _unrounded(self.weight[at : at + TOKENS_AT_ONCE]) @ states

    def _capped(self, logits: Tensor) -> Tensor:
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def _chunk(self, hidden: Tensor, columns: Tensor) -> Tensor:
        logits = self.logits(hidden)
        return logits.gather(1, columns[:, None])[:, 0] - torch.logsumexp(logits, dim=1)


def _unrounded(values: Tensor) -> Tensor:
    """In fp32 where they are held in 16 bits: a product of these would be rounded to them, three digits of a logit."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


@dataclass(frozen=True)
class LabelPass:
    """What one pass gives of a sequence's labels: log-probs (labels,), and where they were asked for logits (labels, columns) with the labels'
    columns (labels,), the states (labels, width) that leave the body, and those that leave the watched layer."""

    log_probs: Tensor
    logits: Tensor | None
    targets: Tensor | None
    hidden: Tensor
    watched: Tensor | None


def label_log_probs(body: Body, head: OutputHead, sequences: Sequence[TokenSequence]) -> list[Tensor]:
    """Per-token log-probs (nats) of each sequence's labels, from one packed pass; gradients flow where they are enabled."""
    return [found.log_probs for found in label_passes(body, head, sequences)]


def label_passes(
    body: Body, head: OutputHead, sequences: Sequence[TokenSequence], *, logits: bool = False, watched: int | None = None
) -> list[LabelPass]:
    """What `LabelPass` says of each sequence's labels, from one packed pass; with `logits` the logits of all labels are in memory at once."""
    hidden, labels, seen = _states(body, sequences, watched)
    counts = [len(sequence.labels) for sequence in sequences]
    whole: Sequence[Tensor | None] = [None] * len(sequences)
    targets: Sequence[Tensor | None] = whole
    if logits:
        columns, every = head.columns(labels), head.logits(hidden)
        log_probs = every.gather(1, columns[:, None])[:, 0] - torch.logsumexp(every, dim=1)
        whole, targets = torch.split(every, counts), torch.split(columns, counts)
    else:
        log_probs = head.log_probs(hidden, labels)
    watched_states = [None] * len(sequences) if seen is None else torch.split(seen, counts)
    return [
        LabelPass(*own)
        for own in zip(torch.split(log_probs, counts), whole, targets, torch.split(hidden, counts), watched_states, strict=True)
    ]


def label_states(body: Body, sequences: Sequence[TokenSequence]) -> tuple[Tensor, Tensor]:
    """The hidden states (labels, width) that predict the labels of all sequences, and the labels, from one packed pass."""
    hidden, labels, _ = _states(body, sequences, None)
    return hidden, labels


def _states(body: Body, sequences: Sequence[TokenSequence], watched: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
    rows = sequence_rows(sequences)
    hidden, seen = (body.packed(rows), None) if watched is None else body.packed_and_watched(rows, watched)
    starts = [0, *itertools.accumulate(len(sequence.ids) - 1 for sequence in sequences)]
    places = [at + place for at, s in zip(starts, sequences, strict=False) for place in range(s.label_from - 1, len(s.ids) - 1)]
    at = torch.tensor(places, device=hidden.device)
    labels = torch.tensor([label for sequence in sequences for label in sequence.labels], device=hidden.device)
    return hidden[at], labels, None if seen is None else seen[at]


def sequence_rows(sequences: Sequence[TokenSequence]) -> list[TokenRow]:
    """The rows that `label_log_probs` feeds to the body, for `Body.keep`."""
    # The last token predicts nothing that is asked, so it is not computed.
    return [TokenRow.plain(sequence.ids[:-1]) for sequence in sequences]
