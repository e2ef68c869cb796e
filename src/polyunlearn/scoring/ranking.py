"""How probable each of several answers to one question is, in a single forward pass a question.

The prompt is computed once; the candidates stand behind it side by side under a tree mask (each sees the prompt and itself), with
the positions they would have on their own. Equal to scoring each candidate in a row of its own up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from polyunlearn.models.batching import TOKEN_BUDGET, mapped_by_length
from polyunlearn.models.body import Body, PromptStates, TokenRow
from polyunlearn.models.forward import OutputHead

T = TypeVar("T")


@dataclass(frozen=True)
class RankedQuestion:
    """The prompt's tokens and each candidate's tokens as they would follow it."""

    prompt: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]


@torch.no_grad()
def candidate_log_probs(body: Body, head: OutputHead, questions: Sequence[RankedQuestion]) -> list[Tensor]:
    """Length-normalised log-prob (nats a token) of every candidate, one tensor (candidates,) a question, in the order given."""
    return _in_batches(questions, lambda trees: _score(trees, body([tree.row for tree in trees]), head))


@torch.no_grad()
def rank_and_read(body: Body, head: OutputHead, questions: Sequence[RankedQuestion]) -> list[tuple[Tensor, PromptStates]]:
    """As `candidate_log_probs`, with what each prompt leaves to an answer: the prompt is computed once for both."""

    def batch(trees: list[_Tree]) -> list[tuple[Tensor, PromptStates]]:
        hidden, prompts = body.read([tree.row for tree in trees])
        return list(zip(_score(trees, hidden, head), prompts, strict=True))

    return _in_batches(questions, batch)


def _in_batches(questions: Sequence[RankedQuestion], work: Callable[[list["_Tree"]], list[T]]) -> list[T]:
    return mapped_by_length([_tree(question) for question in questions], lambda tree: len(tree.row.ids), TOKEN_BUDGET, work)


def ranking_rows(questions: Sequence[RankedQuestion]) -> list[TokenRow]:
    """The rows that `candidate_log_probs` feeds to the body, for `Body.keep`."""
    return [_tree(question).row for question in questions]


@dataclass(frozen=True)
class _Tree:
    """A question as one row; place `sources[k]` of it predicts the label `labels[k]`; the labels of a candidate stand together."""

    row: TokenRow
    sources: list[int]
    labels: list[int]
    lengths: list[int]


def _tree(question: RankedQuestion) -> _Tree:
    size = len(question.prompt)
    ids, positions, branches = list(question.prompt), list(range(size)), [0] * size
    sources: list[int] = []
    labels: list[int] = []
    for number, candidate in enumerate(question.candidates, start=1):
        sources += [size - 1, *range(len(ids), len(ids) + len(candidate) - 1)]
        labels += candidate
        # The last token predicts nothing that is asked, so it is not computed.
        ids += candidate[:-1]
        positions += range(size, size + len(candidate) - 1)
        branches += [number] * (len(candidate) - 1)
    row = TokenRow(tuple(ids), tuple(positions), tuple(branches))
    return _Tree(row, sources, labels, [len(candidate) for candidate in question.candidates])


def _score(trees: list[_Tree], hidden: Tensor, head: OutputHead) -> list[Tensor]:
    rows = torch.cat([torch.full((len(tree.sources),), index) for index, tree in enumerate(trees)])
    sources = torch.tensor([source for tree in trees for source in tree.sources])
    labels = torch.tensor([label for tree in trees for label in tree.labels])
    # Candidates share the prompt's last position: its logits are computed once, not once a candidate.
    places, inverse = torch.unique(rows * hidden.shape[1] + sources, return_inverse=True)
    chosen = hidden.reshape(-1, hidden.shape[-1])[places.to(hidden.device)]
    log_probs = head.pair_log_probs(chosen, inverse.to(hidden.device), labels.to(hidden.device)).cpu()
    scores = []
    for tree in trees:
        own, log_probs = log_probs[: len(tree.labels)], log_probs[len(tree.labels) :]
        scores.append(torch.stack([part.mean() for part in torch.split(own, tree.lengths)]))
    return scores
