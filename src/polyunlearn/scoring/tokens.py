"""What one teacher-forced pass says of every label: the table that token metrics are read off."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from polyunlearn.models.batching import packs
from polyunlearn.models.forward import OutputHead, label_states
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence


@dataclass(frozen=True)
class TokenTable:
    """Of the labels of one sequence, tensors (labels,).

    `log_prob` is in nats. `rank` is the number of tokens that are more probable, so 0 is a hit. `entropy` (nats) is that of the prediction,
    which makes -entropy the mean log-prob of a token drawn from it, and `deviation` the standard deviation of that log-prob: what
    Min-K%++ (arXiv 2404.02936) measures a label against.
    """

    log_prob: Tensor
    rank: Tensor
    entropy: Tensor
    deviation: Tensor

    @property
    def hit(self) -> Tensor:
        """Whether the label is the most probable token."""
        return self.rank == 0


@torch.no_grad()
def token_tables(loaded: LoadedModel, head: OutputHead, sequences: Sequence[TokenSequence]) -> list[TokenTable]:
    """A table for each sequence, in the order given, whatever they are batched with; `head` may be restricted, which leaves other tokens
    out of the softmax, the ranks and the entropy."""
    tables: list[TokenTable] = []
    for batch in packs([len(sequence.ids) for sequence in sequences]):
        own = [sequences[index] for index in batch]
        together = describe(head, *label_states(loaded.body, own))
        parts = [torch.split(getattr(together, field.name), [len(sequence.labels) for sequence in own]) for field in fields(TokenTable)]
        tables += [TokenTable(*columns) for columns in zip(*parts, strict=True)]
    return tables


def describe(head: OutputHead, hidden: Tensor, labels: Tensor) -> TokenTable:
    """The table of `labels` (labels,) given the hidden states (labels, width) that predict them, in chunks of bounded memory."""
    chunks = [_chunk(head.logits(states), columns) for states, columns in head.pieces(hidden, labels)]
    return TokenTable(*(torch.cat(parts).cpu() for parts in zip(*chunks, strict=True)))


def _chunk(logits: Tensor, columns: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    log_probs = torch.log_softmax(logits, dim=1)
    own = log_probs.gather(1, columns[:, None])
    # Counted from what is not behind, so that a diverged model, whose log-probs are no numbers, knows nothing.
    rank = (~(log_probs <= own)).sum(1)
    probs = log_probs.exp()
    mean = (probs * log_probs).sum(1)
    # The square of the distance from the mean, not the difference of two large squares.
    deviation = (probs * (log_probs - mean[:, None]).square()).sum(1).sqrt()
    return own[:, 0], rank, -mean, deviation
