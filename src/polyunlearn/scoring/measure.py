"""Measuring one model state: probes and held-out texts in, rows out."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.batching import packs
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.scoring.generation import greedy_answers
from polyunlearn.scoring.metrics.suite import ANSWER_METRICS
from polyunlearn.scoring.metrics.truth import candidate_rank
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import QuestionTree, RankedQuestion, candidate_log_probs, question_trees, rank_and_read
from polyunlearn.scoring.rows import Row

READ_AT_ONCE = 144
"""Prompts whose keys and values are held at a time, about a megabyte each."""


@dataclass(frozen=True)
class Moment:
    """When in a cell something is measured: after how many steps, and whether these are all."""

    step: int
    end: bool


def rank_rows(loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], moment: Moment) -> list[Row]:
    """Rows of `first`, `probability` and `loss`, and at the end `candidate_rank` of fake questions; `head` may be restricted, which leaves other tokens out
    of the softmax."""
    questions = ranked_questions(probes, loaded.encoder)
    scored = zip(probes, questions, candidate_log_probs(loaded.body, head, questions), strict=True)
    return [row for probe, question, scores in scored for row in _rank_rows(probe, question, scores, moment)]


def asked_rows(
    loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], questions: Sequence[RankedQuestion], moment: Moment
) -> list[Row]:
    """As `rank_rows` without `candidate_rank`, for probes that are asked otherwise than by their own prompts: `questions` stand beside them."""
    scored = zip(probes, questions, candidate_log_probs(loaded.body, head, questions), strict=True)
    return [row for probe, question, scores in scored for row in _rows(probe, moment, _ranked(question, scores))]


def first_rows(probes: Sequence[Probe], scores: Sequence[Tensor], moment: Moment) -> list[Row]:
    """Rows of `first` alone, from what candidates score (candidates,) by some other measure than log-probs: the probe's own is first, and the largest."""
    return [row for probe, own in zip(probes, scores, strict=True) for row in _rows(probe, moment, {"first": _first(own)})]


def rank_and_answer_rows(
    loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], moment: Moment, max_new_tokens: int
) -> Iterator[list[Row]]:
    """What `rank_rows` gives, and rows read off each probe's greedy answer, which carry its text; each prompt is computed once.

    Yields the rows of about `READ_AT_ONCE` probes at a time.
    """
    questions = ranked_questions(probes, loaded.encoder)
    for part in asked_and_answered(loaded, head, questions, max_new_tokens):
        rows: list[Row] = []
        for index, (scores, answer) in part.items():
            rows += _rank_rows(probes[index], questions[index], scores, moment)
            rows += _rows(probes[index], moment, _read_off(probes[index], answer), answer)
        yield rows


def asked_and_answered(
    loaded: LoadedModel, head: OutputHead, questions: Sequence[RankedQuestion], max_new_tokens: int
) -> Iterator[dict[int, tuple[Tensor, str]]]:
    """Of every question, by its number, what its candidates are worth (nats a token) and the greedy answer; each prompt is computed once.

    Yields about `READ_AT_ONCE` questions at a time. `head` ranks; answers take the whole vocabulary.
    """
    for trees in _parts(question_trees(questions, read=True)):
        ranked = rank_and_read(loaded.body, head, trees)
        answers = greedy_answers(loaded.model, loaded.head, loaded.encoder, [prompt for _, prompt in ranked.values()], max_new_tokens)
        yield {index: (scores, answer) for (index, (scores, _)), answer in zip(ranked.items(), answers, strict=True)}


def _parts(trees: Sequence[QuestionTree]) -> Iterator[list[QuestionTree]]:
    """The trees in order, about `READ_AT_ONCE` questions at a time."""
    part: list[QuestionTree] = []
    for tree in trees:
        part.append(tree)
        if sum(len(own.questions) for own in part) >= READ_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _rank_rows(probe: Probe, question: RankedQuestion, scores: Tensor, moment: Moment) -> list[Row]:
    rows = _rows(probe, moment, _ranked(question, scores))
    if moment.end and probe.asks == "fake":
        values = scores.tolist()
        # Ties count against the claim, which is the first candidate.
        order = sorted(range(len(values)), key=lambda number: (-values[number], number == 0))
        rows += _rows(probe, moment, {"candidate_rank": candidate_rank(values)}, " ".join(map(str, order)))
    return rows


def _ranked(question: RankedQuestion, scores: Tensor) -> dict[str, float]:
    return {"first": _first(scores), **_of_answer(scores[0].item(), len(question.candidates[0]) - question.given)}


def _first(scores: Tensor) -> float:
    # A tie is no first place: a model that finds all names alike knows none.
    return float(len(scores) == 1 or scores[0].item() > scores[1:].max().item())


def _of_answer(mean_log_prob: float, tokens: int) -> dict[str, float]:
    return {"probability": math.exp(mean_log_prob * tokens), "loss": -mean_log_prob}


def _read_off(probe: Probe, answer: str) -> dict[str, float]:
    names = ("says", "repetition", "empty", "off_script", *(["chrf"] if probe.asks == "real" else []))
    return {name: ANSWER_METRICS[name].score(answer, probe) for name in names}


def loss_rows(loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], moment: Moment) -> list[Row]:
    """Rows of `probability` and `loss` of each probe's own answer alone: what `rank_rows` gives without `first`, at a fraction of its cost."""
    questions = own_answers(probes, loaded.encoder)
    return [
        row
        for probe, question, score in zip(probes, questions, candidate_log_probs(loaded.body, head, questions), strict=True)
        for row in _rows(probe, moment, _of_answer(score[0].item(), len(question.candidates[0])))
    ]


def own_answers(probes: Sequence[Probe], encoder: Encoder) -> list[RankedQuestion]:
    """The probes as tokens, each with its own answer alone."""
    return ranked_questions([replace(probe, candidates=(probe.answer,)) for probe in probes], encoder)


def ranked_questions(probes: Sequence[Probe], encoder: Encoder) -> list[RankedQuestion]:
    """The probes as tokens."""
    questions = []
    for probe in probes:
        language = get_language(probe.language)
        candidates = tuple(encoder.continuation(language, candidate) for candidate in probe.candidates)
        questions.append(RankedQuestion(encoder.prompt(language, probe.question), candidates))
    return questions


def text_rows(loaded: LoadedModel, stories: Sequence[Story], languages: Sequence[str], moment: Moment) -> list[Row]:
    """Rows of `bits_per_byte` on the real articles of `stories`, always over the whole vocabulary."""
    rows: list[Row] = []
    for tag in languages:
        language = get_language(tag)
        sequences = held_out_sequences(stories, tag, loaded.encoder)
        for story, log_probs in zip(stories, score_sequences(loaded, loaded.head, sequences), strict=True):
            size = len(language.joiner.join(story.editions[tag].article).encode())
            rows.append(
                Row(moment.step, moment.end, story.id, tag, "text", -1, "bits_per_byte", -log_probs.sum().item() / math.log(2) / size)
            )
    return rows


def held_out_sequences(stories: Sequence[Story], tag: str, encoder: Encoder) -> list[TokenSequence]:
    """The real articles of `stories` in one language, as tokens."""
    language = get_language(tag)
    return [encoder.unended(language, language.joiner.join(story.editions[tag].article)) for story in stories]


@torch.no_grad()
def score_sequences(loaded: LoadedModel, head: OutputHead, sequences: Sequence[TokenSequence]) -> list[Tensor]:
    """Per-token log-probs (nats) of the labels of each sequence, in the order given."""
    results: list[Tensor] = [torch.empty(0)] * len(sequences)
    for batch in packs([len(sequence.ids) for sequence in sequences]):
        for index, log_probs in zip(batch, label_log_probs(loaded.body, head, [sequences[i] for i in batch]), strict=True):
            results[index] = log_probs.cpu()
    return results


def _rows(probe: Probe, moment: Moment, values: dict[str, float], text: str = "") -> list[Row]:
    return [
        Row(moment.step, moment.end, probe.story, probe.language, probe.asks, probe.wording, metric, value, text)
        for metric, value in values.items()
    ]
