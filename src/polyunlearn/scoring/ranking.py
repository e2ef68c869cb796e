"""How probable each of several answers to each of several questions is, with nothing computed twice.

Questions that begin alike share a row, in which each question stands behind their common beginning and its candidates side by side
behind it (a tree mask: each token sees what it would see in a text of its own, at the position that it would have there). Equal to
scoring each candidate in a row of its own up to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polyunlearn.errors import UserError
from polyunlearn.models.batching import TOKEN_BUDGET, mapped_by_length
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.rows import TokenRow, common_length, forest
from polyunlearn.scoring.generation import PromptStates

TREE_TOKENS = 192
"""Tokens of a row: the more questions share one, the fewer tokens there are, but the cost of attention grows with its square."""


@dataclass(frozen=True)
class RankedQuestion:
    """The prompt's tokens and each candidate's tokens as they would follow it, of which the first `given` are not scored, but stand there already."""

    prompt: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    given: int = 0


@dataclass(frozen=True)
class QuestionTree:
    """Questions as one row: of each, its number among all questions and the places of every prompt + candidate, last tokens left out."""

    row: TokenRow
    questions: tuple[RankedQuestion, ...]
    numbers: tuple[int, ...]
    places: tuple[tuple[tuple[int, ...], ...], ...]


def question_trees(questions: Sequence[RankedQuestion], *, read: bool = False) -> list[QuestionTree]:
    """The rows that questions are ranked in; with `read`, what each prompt leaves to an answer is asked for too."""
    trees: list[QuestionTree] = []
    group: list[int] = []
    size = 0
    for number in sorted(range(len(questions)), key=lambda number: questions[number].prompt):
        question = questions[number]
        own = len(question.prompt) + sum(len(candidate) - 1 for candidate in question.candidates)
        shared = common_length(questions[group[-1]].prompt, question.prompt) if group else 0
        if group and size + own - shared > TREE_TOKENS:
            trees.append(_tree(questions, group, read))
            group, size, shared = [], 0, 0
        group.append(number)
        size += own - shared
    return [*trees, _tree(questions, group, read)] if group else trees


def _tree(questions: Sequence[RankedQuestion], numbers: Sequence[int], read: bool) -> QuestionTree:
    chosen = [questions[number] for number in numbers]
    # The last token of a candidate predicts nothing that is asked, so it is not computed.
    row, places = forest([question.prompt + candidate[:-1] for question in chosen for candidate in question.candidates])
    parts = []
    for question in chosen:
        parts.append(tuple(places[: len(question.candidates)]))
        places = places[len(question.candidates) :]
    if read:
        prompts = {place for question, part in zip(chosen, parts, strict=True) for place in part[0][: len(question.prompt)]}
        row = replace(row, reads=tuple(sorted(prompts)))
    return QuestionTree(row, tuple(chosen), tuple(numbers), tuple(parts))


@torch.no_grad()
def candidate_log_probs(body: Body, head: OutputHead, questions: Sequence[RankedQuestion]) -> list[Tensor]:
    """Length-normalised log-prob (nats a token) of every candidate, one tensor (candidates,) a question, in the order given."""
    trees = question_trees(questions)

    def work(batch: list[QuestionTree]) -> list[list[Tensor]]:
        return _scores(batch, body([tree.row for tree in batch]), head)

    scores = mapped_by_length(trees, _size, TOKEN_BUDGET, work)
    by_number = {number: own for tree, part in zip(trees, scores, strict=True) for number, own in zip(tree.numbers, part, strict=True)}
    return [by_number[number] for number in range(len(questions))]


def finite_log_probs(loaded: LoadedModel, questions: Sequence[RankedQuestion]) -> list[Tensor]:
    """As `candidate_log_probs`; raises `UserError` where the model gives what is no number, as one does whose training diverged."""
    found = candidate_log_probs(loaded.body, loaded.head, questions)
    if not all(bool(own.isfinite().all()) for own in found):
        raise UserError(f"{loaded.name}: gives no numbers for some answers; its weights may have been spoilt, try the model from before")
    return found


@torch.no_grad()
def rank_and_read(body: Body, head: OutputHead, trees: Sequence[QuestionTree]) -> dict[int, tuple[Tensor, PromptStates]]:
    """By the number of each question in `trees`, built with `read`: what `candidate_log_probs` gives, and what its prompt leaves to an answer.

    Each prompt is computed once for both.
    """

    def work(batch: list[QuestionTree]) -> list[list[tuple[Tensor, PromptStates]]]:
        hidden, read = body.read([tree.row for tree in batch])
        scores = _scores(batch, hidden, head)
        prompts = [_prompts(tree, own, keys_values) for tree, own, keys_values in zip(batch, hidden, read, strict=True)]
        return [list(zip(*both, strict=True)) for both in zip(scores, prompts, strict=True)]

    results = mapped_by_length(trees, _size, TOKEN_BUDGET, work)
    return {number: own for tree, part in zip(trees, results, strict=True) for number, own in zip(tree.numbers, part, strict=True)}


def _size(tree: QuestionTree) -> int:
    return len(tree.row.ids)


def _prompts(tree: QuestionTree, hidden: Tensor, keys_values: tuple[Tensor, ...]) -> list[PromptStates]:
    index = {place: at for at, place in enumerate(tree.row.reads)}
    prompts = []
    for question, places in zip(tree.questions, tree.places, strict=True):
        own = places[0][: len(question.prompt)]
        at = torch.tensor([index[place] for place in own])
        prompts.append(PromptStates(hidden[own[-1]].clone(), tuple(layer[:, :, at] for layer in keys_values)))
    return prompts


def _scores(trees: Sequence[QuestionTree], hidden: Tensor, head: OutputHead) -> list[list[Tensor]]:
    """For each tree, the scores of each of its questions."""
    sources: list[int] = []
    labels: list[int] = []
    lengths: list[int] = []
    for number, tree in enumerate(trees):
        for question, places in zip(tree.questions, tree.places, strict=True):
            for candidate, path in zip(question.candidates, places, strict=True):
                # The last token of the prompt predicts the first of the candidate.
                sources += [number * hidden.shape[1] + place for place in path[len(question.prompt) - 1 + question.given :]]
                labels += candidate[question.given :]
                lengths.append(len(candidate) - question.given)
    # Candidates share the prompt's last place: its logits are computed once, not once a candidate.
    places_asked, inverse = torch.unique(torch.tensor(sources), return_inverse=True)
    chosen = hidden.reshape(-1, hidden.shape[-1])[places_asked.to(hidden.device)]
    log_probs = head.pair_log_probs(chosen, inverse.to(hidden.device), torch.tensor(labels)).cpu()
    means = torch.stack([part.mean() for part in torch.split(log_probs, lengths)])
    counts = [[len(question.candidates) for question in tree.questions] for tree in trees]
    by_tree = torch.split(means, [sum(own) for own in counts])
    return [list(torch.split(part, own)) for part, own in zip(by_tree, counts, strict=True)]
