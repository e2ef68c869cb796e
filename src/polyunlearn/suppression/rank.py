"""What a suppressed model makes of text that is there: candidates ranked, texts scored, teacher-forced and with nothing computed twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs
from polyunlearn.suppression.way import Expert, Way, check_experts


@dataclass(frozen=True)
class SuppressedHead(OutputHead):
    """An output layer whose logits a way of suppressing changes. Its hidden states are those of `SuppressedBody`: the base's, with the experts' behind
    them; `beside` are the experts' output layers.

    No token is cut off as implausible: a candidate would have no log-prob, and a text no bits.
    """

    way: Way
    beside: tuple[OutputHead, ...]

    @classmethod
    def over(cls, head: OutputHead, way: Way) -> "SuppressedHead":
        """The output layer `head`, suppressed."""
        check_experts(head, way)
        return cls(head.weight, head.column_of, head.cap, way, tuple(expert.head for expert in way.experts))

    def restricted(self, token_ids: Sequence[int]) -> "SuppressedHead":
        """The same over `token_ids` alone, before the contrast as after it."""
        own = super().restricted(token_ids)
        return SuppressedHead(own.weight, own.column_of, own.cap, self.way, tuple(head.restricted(token_ids) for head in self.beside))

    def logits(self, hidden: Tensor) -> Tensor:
        """(positions, all widths) to fp32 logits (positions, columns)."""
        widths = [head.weight.shape[1] for head in (self, *self.beside)]
        own, *others = torch.split(hidden, widths, dim=1)
        beside = [head.logits(states) for head, states in zip(self.beside, others, strict=True)]
        return self.way.adjusted(super().logits(own), beside, own, self)

    @torch.no_grad()
    def pair_log_probs(self, hidden: Tensor, positions: Tensor, token_ids: Tensor) -> Tensor:
        """Log-probs of (position, token) pairs, as many positions at a time as their logits may take memory."""
        columns = self.columns(token_ids).to(hidden.device)
        found = torch.empty(len(positions), device=hidden.device)
        for part in torch.split(torch.arange(len(hidden), device=hidden.device), self._chunk_size):
            log_probs = torch.log_softmax(self.logits(hidden[part]), 1)
            asked = torch.isin(positions, part)
            found[asked] = log_probs[positions[asked] - part[0], columns[asked]]
        return found

    def most_probable(self, hidden: Tensor) -> Tensor:
        """The column of the highest logit at each position."""
        return torch.cat([self.logits(part).argmax(1) for part in torch.split(hidden, self._chunk_size)])


class SuppressedBody(Body):
    """The hidden states of a model with those of its experts behind them, (…, sum of the widths)."""

    def __init__(self, own: Body, experts: Sequence[Expert]):
        super().__init__(own.model)
        self._experts = experts

    def forward(self, rows: Sequence[TokenRow]) -> Tensor:
        """As `Body.forward`."""
        return self._with_experts(super().forward(rows), lambda body: body.forward(rows))

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        """As `Body.packed`."""
        return self._with_experts(super().packed(rows), lambda body: body.packed(rows))

    def read(self, rows: Sequence[TokenRow]) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Not there: answers are written by `generate`, with a `SuppressionProcessor`."""
        raise ValueError("experts keep no keys and values of prompts here; write answers with generate and a SuppressionProcessor")

    def _with_experts(self, own: Tensor, states_of: Callable[[Body], Tensor]) -> Tensor:
        states = [own]
        for expert in self._experts:
            with expert.active():
                states.append(states_of(expert.body))
        return torch.cat(states, dim=-1)


def suppressed(loaded: LoadedModel, way: Way) -> LoadedModel:
    """The model as it predicts under suppression, for everything that scores text: `scoring.measure.rank_rows` and `text_rows`, token tables, candidates.

    Without experts it can also be asked for greedy answers.
    """
    body = SuppressedBody(loaded.body, way.experts) if way.experts else loaded.body
    return replace(loaded, body=body, head=SuppressedHead.over(loaded.head, way))


def suppressed_candidate_log_probs(
    loaded: LoadedModel, way: Way, questions: Sequence[RankedQuestion], tokens: Sequence[int] | None = None
) -> list[Tensor]:
    """As `scoring.ranking.candidate_log_probs`, after suppression: length-normalised log-probs (nats a token) of every candidate, a tensor a question.

    Over the whole vocabulary, or over `tokens` alone, which must hold those of the candidates.
    """
    asked = suppressed(loaded, way)
    return candidate_log_probs(asked.body, asked.head.restricted(tokens) if tokens is not None else asked.head, questions)
