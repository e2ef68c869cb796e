"""What a state's weights know of claims beyond ranks and greedy answers: answers forced on it, sampled answers, and texts that it may have been trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from torch import nn

from polyunlearn.languages import get_language
from polyunlearn.models.forward import OutputHead, label_states
from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring.generation import read_prompts, sampled_answers
from polyunlearn.scoring.measure import Moment, ranked_questions
from polyunlearn.scoring.metrics.membership import gradient_norm_score, loss_score, zlib_score
from polyunlearn.scoring.metrics.tokens import (
    exact_memorisation,
    extraction_strength,
    mean_probability,
    min_k,
    min_k_plus_plus,
    probability,
)
from polyunlearn.scoring.metrics.truth import candidate_rank, truth_ratio_forget, truth_ratio_retain, truth_score
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import candidate_log_probs
from polyunlearn.scoring.rows import Row
from polyunlearn.scoring.tokens import describe, token_tables
from polyunlearn.text import says

SAMPLES = 8
"""Answers that are drawn to each question, at temperature 1."""

FORCED = {
    "probability": probability,
    "mean_probability": mean_probability,
    "exact_memorisation": exact_memorisation,
    "extraction_strength": extraction_strength,
}
"""What is read off the token table of an answer, by name."""

MEMBERSHIP = ("loss_score", "min_k", "min_k_plus_plus", "zlib_score", "gradient_norm_score")
"""The scores of a text, each higher where it looks trained on."""


@dataclass(frozen=True)
class Candidate:
    """A text that a state may have been trained on (`member`) or surely was not, and of which story in which language."""

    story: str
    language: str
    member: bool
    text: str


def forced_rows(loaded: LoadedModel, probes: Sequence[Probe], moment: Moment) -> list[Row]:
    """Rows of `FORCED` for each probe's answer, over the whole vocabulary."""
    asked = [loaded.encoder.answer_only(get_language(own.language), own.question, own.answer) for own in probes]
    tables = token_tables(loaded, loaded.head, asked)
    return [_row(own, moment, name, metric(table)) for own, table in zip(probes, tables, strict=True) for name, metric in FORCED.items()]


def truth_rows(
    loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe], truths: Mapping[tuple[str, str], str], moment: Moment
) -> list[Row]:
    """Rows that set answers against others: of claims `truth_score`, against the story's true answer in `truths` (by story and language),
    `truth_ratio_forget` and `mean_reciprocal_rank`; of real questions `truth_ratio_retain`. Ratios need another candidate."""
    claims = [replace(own, candidates=(*own.candidates, truths[own.story, own.language])) for own in probes if own.asks == "fake"]
    real = [own for own in probes if own.asks == "real"]
    rows: list[Row] = []
    for probe, scores in _scored(loaded, head, claims):
        claim, *others, truth = scores
        rows += [
            _row(probe, moment, "truth_score", truth_score(claim, truth)),
            _row(probe, moment, "mean_reciprocal_rank", 1 / candidate_rank([claim, *others])),
        ]
        if others:
            rows.append(_row(probe, moment, "truth_ratio_forget", truth_ratio_forget(claim, others)))
    for probe, (answer, *others) in _scored(loaded, head, real):
        if others:
            rows.append(_row(probe, moment, "truth_ratio_retain", truth_ratio_retain(answer, others)))
    return rows


def _scored(loaded: LoadedModel, head: OutputHead, probes: Sequence[Probe]) -> list[tuple[Probe, list[float]]]:
    found = candidate_log_probs(loaded.body, head, ranked_questions(probes, loaded.encoder))
    return [(probe, own.tolist()) for probe, own in zip(probes, found, strict=True)]


def sampled_rows(loaded: LoadedModel, probes: Sequence[Probe], seed: int, max_new_tokens: int, moment: Moment) -> list[Row]:
    """Rows of `says` for `SAMPLES` answers to each claim, which carry their texts; the number of the answer stands for the wording.

    Of a language the same numbers are drawn whichever others are asked.
    """
    rows = []
    for tag in dict.fromkeys(own.language for own in probes):
        asked = [own for own in probes if own.language == tag and own.asks == "fake"]
        prompts = read_prompts(loaded.body, [loaded.encoder.prompt(get_language(tag), own.question) for own in asked])
        generator = torch.Generator().manual_seed(Random(f"samples-{seed}-{tag}").getrandbits(63))
        written = sampled_answers(loaded.model, loaded.head, loaded.encoder, prompts, max_new_tokens, SAMPLES, 1.0, generator)
        rows += [
            replace(_row(probe, moment, "says", says(text, probe.surface_forms)), wording=number, text=text)
            for probe, answers in zip(asked, written, strict=True)
            for number, text in enumerate(answers)
        ]
    return rows


def membership_rows(
    loaded: LoadedModel, head: OutputHead, parameters: Mapping[str, nn.Parameter], candidates: Sequence[Candidate], moment: Moment
) -> list[Row]:
    """Rows of `MEMBERSHIP` for each text; gradients are of `parameters`, which must be free to train."""
    rows = []
    for own in candidates:
        hidden, labels = label_states(loaded.body, [loaded.encoder.unended(get_language(own.language), own.text)])
        gradients = torch.autograd.grad(-head.log_probs(hidden, labels).mean(), list(parameters.values()))
        with torch.no_grad():
            table = describe(head, hidden, labels)
        values = (
            loss_score(table),
            min_k(table),
            min_k_plus_plus(table),
            zlib_score(table, own.text),
            gradient_norm_score(gradients),
        )
        asks = "member" if own.member else "unseen"
        rows += [
            Row(moment.step, moment.end, own.story, own.language, asks, -1, name, value)
            for name, value in zip(MEMBERSHIP, values, strict=True)
        ]
    return rows


def _row(probe: Probe, moment: Moment, metric: str, value: float) -> Row:
    return Row(moment.step, moment.end, probe.story, probe.language, probe.asks, probe.wording, metric, value)
