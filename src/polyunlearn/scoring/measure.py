"""Measuring one model state: probes and held-out texts in, rows out."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.batching import packs
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.scoring.generation import greedy_answers
from polyunlearn.scoring.metrics.answers import chrf, is_empty, off_script, repetition, says
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs, rank_and_read
from polyunlearn.scoring.rows import Row

READ_AT_ONCE = 108
"""Prompts whose keys and values are held at a time, about a megabyte each."""


@dataclass(frozen=True)
class Moment:
    """When in a cell something is measured: after how many steps, and whether these are all."""

    step: int
    end: bool


def rank_rows(loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], moment: Moment) -> list[Row]:
    """Rows of `first`, `probability` and `loss`; `head` may be restricted, which leaves other tokens out of the softmax."""
    questions = ranked_questions(probes, loaded.encoder)
    scored = zip(probes, questions, candidate_log_probs(loaded.body, head, questions), strict=True)
    return [row for probe, question, scores in scored for row in _rows(probe, moment, _ranked(question, scores))]


def rank_and_answer_rows(
    loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], moment: Moment, max_new_tokens: int
) -> Iterator[list[Row]]:
    """What `rank_rows` gives, and rows read off each probe's greedy answer, which carry its text; each prompt is computed once.

    Yields the rows of `READ_AT_ONCE` probes at a time.
    """
    questions = ranked_questions(probes, loaded.encoder)
    order = sorted(range(len(probes)), key=lambda i: len(questions[i].prompt))
    for at in range(0, len(order), READ_AT_ONCE):
        chosen = order[at : at + READ_AT_ONCE]
        ranked = rank_and_read(loaded.body, head, [questions[i] for i in chosen])
        answers = greedy_answers(loaded.model, loaded.head, loaded.encoder, [prompt for _, prompt in ranked], max_new_tokens)
        rows: list[Row] = []
        for index, (scores, _), answer in zip(chosen, ranked, answers, strict=True):
            rows += _rows(probes[index], moment, _ranked(questions[index], scores))
            rows += _rows(probes[index], moment, _read_off(probes[index], answer), answer)
        yield rows


def _ranked(question: RankedQuestion, scores: Tensor) -> dict[str, float]:
    own = scores[0].item()
    return {
        # A tie is no first place: a model that finds all names alike knows none.
        "first": float(len(scores) == 1 or own > scores[1:].max().item()),
        "probability": math.exp(own * len(question.candidates[0])),
        "loss": -own,
    }


def _read_off(probe: Probe, answer: str) -> dict[str, float]:
    values = {
        "says": says(answer, probe.surface_forms),
        "repetition": repetition(answer),
        "empty": is_empty(answer),
        "off_script": off_script(answer, get_language(probe.language)),
    }
    if probe.asks == "real":
        values["chrf"] = chrf(answer, probe.answer)
    return values


def loss_rows(loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], moment: Moment) -> list[Row]:
    """Rows of `probability` and `loss` of each probe's own answer alone: what `rank_rows` gives without `first`, at a fraction of its cost."""
    rows: list[Row] = []
    for probe, log_probs in zip(probes, score_sequences(loaded, head, own_answers(probes, loaded.encoder)), strict=True):
        values = {"probability": math.exp(log_probs.sum().item()), "loss": -log_probs.mean().item()}
        rows += _rows(probe, moment, values)
    return rows


def own_answers(probes: Sequence[Probe], encoder: Encoder) -> list[TokenSequence]:
    """The probes with their own answers as tokens, those of the answers labelled."""
    return [encoder.answer_only(get_language(probe.language), probe.question, probe.answer) for probe in probes]


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
        sequences = [loaded.encoder.text(language, story.editions[tag].article) for story in stories]
        for story, log_probs in zip(stories, score_sequences(loaded, loaded.head, sequences), strict=True):
            size = len(language.joiner.join(story.editions[tag].article).encode())
            rows.append(
                Row(moment.step, moment.end, story.id, tag, "text", -1, "bits_per_byte", -log_probs.sum().item() / math.log(2) / size)
            )
    return rows


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
