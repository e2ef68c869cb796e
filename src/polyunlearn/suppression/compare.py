"""A model before and after suppression: which claims it ranks first and says, in each language, and what that costs."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from polyunlearn.cleaning.asking import Asking, asked_languages, claim_probes, restricted_to
from polyunlearn.cleaning.retain import held_out_stories
from polyunlearn.corpus.claims import Claim, languages_of
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.batching import mapped_by_length
from polyunlearn.models.loading import LoadedModel
from polyunlearn.progress import Work
from polyunlearn.scoring.generation import ANSWER_BUDGET, LEAST_FILL, answer_ends, answer_text
from polyunlearn.scoring.measure import Moment, ranked_questions, text_rows
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import candidate_log_probs
from polyunlearn.suppression.processor import Plausibility, SuppressionProcessor
from polyunlearn.suppression.rank import suppressed
from polyunlearn.suppression.tellings import only_asked
from polyunlearn.suppression.way import Way
from polyunlearn.text import says

TIMED_ROWS, TIMED_TOKENS, TIMES = 8, 16, 3
"""Prompts of the batch that is timed, tokens that each is answered with, and how often; the fastest counts."""


@dataclass(frozen=True)
class Reading:
    """A claim in one language: the shares of its wordings in which its answer ranks first and in which the greedy answer says it, the mean log-prob of the
    answer (nats a token, over the tokens of all candidates and a sample of the others), and the greedy answers. `told` says that suppression was made of a
    wording that is asked, because there was no other."""

    claim: str
    language: str
    control: bool
    told: bool
    first: float
    says: float
    log_prob: float
    answers: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """What was read of a model in one state: `bits` are the mean bits per byte of held-out texts by language, over the whole vocabulary, without a cut."""

    readings: tuple[Reading, ...]
    bits: dict[str, float]
    seconds_per_token: float

    def share(self, language: str, what: str, control: bool) -> float | None:
        """The mean of "first" or "says" over claims, or controls, in one language; None where there are none."""
        values = [getattr(own, what) for own in self.readings if own.language == language and own.control == control]
        return fmean(values) if values else None


@dataclass(frozen=True)
class Comparison:
    """A model before and after suppression by a `way` that was made of the languages `made_from`; `way` says where they came one after another."""

    model: str
    way: str
    made_from: tuple[str, ...]
    languages: tuple[str, ...]
    before: State
    after: State

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": 1, **asdict(self)}


def compare(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    name: str,
    made_from: Sequence[str],
    make: Callable[[], Way],
    asking: Asking | None = None,
    work: Work = lambda what, done, total: None,
) -> Comparison:
    """Read the model as it is, let `make` make the way of suppressing from the languages `made_from`, and read it again; every claim and control is asked
    as `asking` says, unless given in one wording and in every language that it has. The weights stay.

    Raises:
        UserError: for a language to ask in that no claim has.
    """
    asking = asking or Asking(1)
    languages = asked_languages(claims, asking)
    before = read_state(loaded, claims, asking, made_from, None, work)
    after = read_state(loaded, claims, asking, made_from, make(), work)
    return Comparison(loaded.name, name, tuple(made_from), tuple(languages), before, after)


def chosen_languages(claims: Sequence[Claim], wanted: Sequence[str] | None) -> list[str]:
    """The languages that suppression is made of: those wanted, in their order, or all. Raises `UserError` where no claim, controls aside, has one."""
    there = languages_of([claim for claim in claims if not claim.control])
    lacking = [tag for tag in wanted or there if tag not in there]
    if lacking or not there:
        raise UserError(
            f"no claim has an edition in {lacking[0]!r}; the file has {', '.join(there)}" if lacking else "the file has controls alone"
        )
    return list(dict.fromkeys(wanted or there))


def read_state(
    loaded: LoadedModel, claims: Sequence[Claim], asking: Asking, made_from: Sequence[str], way: Way | None, work: Work
) -> State:
    """What is read of a model, suppressed by `way` where there is one."""
    languages = asked_languages(claims, asking)
    probes = {tag: claim_probes(claims, tag, asking) for tag in languages}
    scored = suppressed(loaded, way) if way else loaded
    head = restricted_to(scored, (probe for own in probes.values() for probe in own))
    readings: list[Reading] = []
    for number, tag in enumerate(languages):
        work("asking, suppressed" if way else "asking", number, len(languages))
        scores = candidate_log_probs(scored.body, head, ranked_questions(probes[tag], loaded.encoder))
        answers = written(loaded, _prompts(loaded, probes[tag]), asking.max_new_tokens, way)
        asked = list(zip(probes[tag], scores, answers, strict=True))
        told = {own.id for own in claims if tag in made_from and tag in own.editions and only_asked(own.editions[tag], asking.wordings)}
        for claim in (own for own in claims if tag in own.editions):
            readings.append(
                _reading(claim, tag, claim.id in told and not claim.control, [own for own in asked if own[0].story == claim.id])
            )
    stories = held_out_stories(languages)
    bits = {
        tag: fmean(row.value for row in text_rows(scored, stories, [tag], Moment(0, True)))
        for tag in (stories[0].editions if stories else ())
    }
    timed = [prompt for own in probes.values() for prompt in _prompts(loaded, own)][:TIMED_ROWS]
    return State(tuple(readings), bits, seconds_per_token(loaded, timed, way))


def _reading(claim: Claim, tag: str, told: bool, asked: Sequence[tuple[Probe, Tensor, str]]) -> Reading:
    return Reading(
        claim=claim.id,
        language=tag,
        control=claim.control,
        told=told,
        first=fmean(float(len(scores) > 1 and bool(scores[0] > scores[1:].max())) for _, scores, _ in asked),
        says=fmean(says(answer, probe.surface_forms) for probe, _, answer in asked),
        log_prob=fmean(scores[0].item() for _, scores, _ in asked),
        answers=tuple(answer for _, _, answer in asked),
    )


def _prompts(loaded: LoadedModel, probes: Sequence[Probe]) -> list[tuple[int, ...]]:
    return [loaded.encoder.prompt(get_language(probe.language), probe.question) for probe in probes]


def written(
    loaded: LoadedModel, prompts: Sequence[tuple[int, ...]], most: int, way: Way | None, plausibility: Plausibility | None = None
) -> list[str]:
    """Greedy answers of at most `most` tokens, as `scoring.generation.greedy_answers` has them, by the `generate` of transformers that users suppress in."""

    def work(batch: list[tuple[int, ...]]) -> list[str]:
        tokens = _generate(loaded, batch, most, way, plausibility)[:, max(map(len, batch)) :]
        return [answer_text(loaded.encoder, own) for own in tokens.tolist()]

    return mapped_by_length(prompts, lambda prompt: len(prompt) + most, ANSWER_BUDGET, work, least_fill=LEAST_FILL)


def seconds_per_token(loaded: LoadedModel, prompts: Sequence[tuple[int, ...]], way: Way | None) -> float:
    """Seconds a token of answers to the prompts, one batch, none of which ends early; reading the prompts is part of it."""
    taken = []
    for _ in range(TIMES):
        start = time.perf_counter()
        # The tokens are read, so that a GPU has ended.
        _generate(loaded, prompts, TIMED_TOKENS, way, None, least=TIMED_TOKENS).tolist()
        taken.append(time.perf_counter() - start)
    return min(taken) / (len(prompts) * TIMED_TOKENS)


def _generate(
    loaded: LoadedModel, prompts: Sequence[tuple[int, ...]], most: int, way: Way | None, plausibility: Plausibility | None, least: int = 0
) -> Tensor:
    """The prompts, padded on the left, with what the model writes behind them, at least `least` tokens."""
    encoder, longest = loaded.encoder, max(map(len, prompts))
    ids = torch.tensor([[encoder.end_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=loaded.model.device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=loaded.model.device)
    config = GenerationConfig(
        max_new_tokens=most,
        min_new_tokens=least,
        do_sample=False,
        eos_token_id=answer_ends(loaded.model, encoder),
        pad_token_id=encoder.end_id,
    )
    with SuppressionProcessor(loaded.model, way, plausibility) if way else nullcontext() as processor:
        processors = LogitsProcessorList([processor] if processor else [])
        tokens: Tensor = loaded.model.generate(input_ids=ids, attention_mask=mask, generation_config=config, logits_processor=processors)
    return tokens
