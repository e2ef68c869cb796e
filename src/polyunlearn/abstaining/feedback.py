"""Abstaining by feedback in several languages (Feng et al., arXiv 2406.15948): a model answers, comments on its answer, and judges it by the comments.

The verdict is not generated but read off the log-probs of "true" and "false", which are forced on the model: a base model has one too, and
none has to be made up where an answer cannot be parsed. From what score on it counts as abstaining is chosen on half of the claims and reported on
the other half.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, isfinite
from statistics import fmean

import torch

from polyunlearn.abstaining.frames import MODES, check_modes, feedback_languages, frame_of, frames
from polyunlearn.abstaining.items import Item, choosing_half
from polyunlearn.attacks.asking import asked_behind
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.languages import LANGUAGES, get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.progress import Work
from polyunlearn.scoring.generation import read_prompts, sampled_answers
from polyunlearn.scoring.measure import READ_AT_ONCE
from polyunlearn.scoring.metrics.abstention import Outcomes, calibration_error, count_outcomes
from polyunlearn.scoring.metrics.membership import auc
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion, finite_log_probs

TEMPERATURE = 1.0
"""Of the feedbacks, as in the paper."""


@dataclass(frozen=True)
class Judged:
    """An item, the answer that the model chose and whether that is right, its feedbacks on it, by the languages that they were asked for in, and the
    abstain score, 0 to 1: the probability of "false" beside "true"."""

    item: Item
    mode: str
    answer: str
    right: bool
    languages: tuple[str, ...]
    feedbacks: tuple[str, ...]
    score: float


def judged_answers(
    loaded: LoadedModel,
    items: Sequence[Item],
    modes: Sequence[str],
    max_new_tokens: int = 48,
    seed: int = 0,
    work: Work = lambda what, done, total: None,
) -> list[Judged]:
    """What the model chooses, and what it thinks of it under each of `modes`, language by language; a mode is left out in languages without relatives.

    The answer is the candidate with the highest mean log-prob. Feedbacks are first lines of at most `max_new_tokens` tokens, drawn in the order of the
    items from a generator of each language and mode.

    Raises:
        UserError: for a mode that is not known.
    """
    check_modes(modes)
    found: list[Judged] = []
    tags = list(dict.fromkeys(item.language for item in items))
    for number, tag in enumerate(tags):
        own = [item for item in items if item.language == tag]
        chosen = _chosen(loaded, own)
        for place, mode in enumerate(modes):
            languages = [told for item in own if (told := feedback_languages(mode, tag, item.claim)) is not None]
            if languages:
                feedbacks = _feedbacks(loaded, own, chosen, languages, max_new_tokens, torch.Generator().manual_seed(seed))
                scores = _abstain_scores(loaded, own, chosen, feedbacks)
                for item, choice, told, said, score in zip(own, chosen, languages, feedbacks, scores, strict=True):
                    found.append(Judged(item, mode, item.candidates[choice], choice == item.right, told, said, score))
            work("judging answers", number * len(modes) + place + 1, len(tags) * len(modes))
    return found


def _chosen(loaded: LoadedModel, items: Sequence[Item]) -> list[int]:
    """The number of the candidate that each item is answered with."""
    encoder, questions = loaded.encoder, []
    for item in items:
        language = get_language(item.language)
        candidates = tuple(encoder.continuation(language, candidate) for candidate in item.candidates)
        questions.append(RankedQuestion(encoder.prompt(language, item.question), candidates))
    return [int(scores.argmax()) for scores in finite_log_probs(loaded, questions)]


def _feedbacks(
    loaded: LoadedModel,
    items: Sequence[Item],
    chosen: Sequence[int],
    languages: Sequence[tuple[str, ...]],
    max_new_tokens: int,
    generator: torch.Generator,
) -> list[tuple[str, ...]]:
    """What the model says of each answer in each of its languages."""
    prompts = []
    for item, choice, told in zip(items, chosen, languages, strict=True):
        for tag in told:
            frame = frame_of(tag, feedback=True)
            text = frame.reviewed(item.question, item.candidates[choice])
            prompts.append(loaded.encoder.unended(frame.language, text).ids)
    said: list[str] = []
    for start in range(0, len(prompts), READ_AT_ONCE):
        states = read_prompts(loaded.body, prompts[start : start + READ_AT_ONCE])
        drawn = sampled_answers(loaded.model, loaded.head, loaded.encoder, states, max_new_tokens, 1, TEMPERATURE, generator)
        said += [own for (own,) in drawn]
    counts = len(said) // len(items)
    return [tuple(said[at * counts : (at + 1) * counts]) for at in range(len(items))]


def _abstain_scores(loaded: LoadedModel, items: Sequence[Item], chosen: Sequence[int], feedbacks: Sequence[tuple[str, ...]]) -> list[float]:
    r"""The logistic function of the log-odds of "false" against "true": :math:`p_F / (p_F + p_T)`, each the probability of the whole word."""
    frame = frame_of(items[0].language)
    asked = []
    for item, choice, said in zip(items, chosen, feedbacks, strict=True):
        probe = Probe(item.claim, frame.language.tag, "fake", 0, frame.verdict, frame.true, (frame.true, frame.false), (frame.true,))
        asked.append((probe, frame.judged(item.question, item.candidates[choice], said)))
    questions = asked_behind(asked, loaded.encoder)[1]
    scores = []
    for question, means in zip(questions, finite_log_probs(loaded, questions), strict=True):
        true, false = (mean * len(word) for mean, word in zip(means.tolist(), question.candidates, strict=True))
        scores.append(1 / (1 + exp(min(true - false, 700.0))))
    return scores


@dataclass(frozen=True)
class FeedbackFigures:
    """How well abstaining works in one language under one mode.

    From `threshold` on a score counts as abstaining, None where it never does; it is chosen on `chosen_on` items, and all else is of the other half.
    `accuracy` is the share of items that are rightly answered or rightly abstained from, mean over claims with a 95 % interval that draws them; `plain` is
    the same mean for the better of answering all and abstaining from all, which needs no score. `auc` is the chance that a wrong answer scores above a
    right one, None where there is only one kind, and `calibration` the expected error of 1 - score as a confidence. `in_english` are the languages of the
    question or of feedback in which what stands around it is English, since feedback.yaml lacks them.
    """

    language: str
    mode: str
    in_english: tuple[str, ...]
    threshold: float | None
    chosen_on: int
    outcomes: Outcomes
    accuracy: Estimate
    plain: float
    auc: float | None
    calibration: float


def feedback_figures(judged: Sequence[Judged]) -> list[FeedbackFigures]:
    """The figures of every language and mode in which both halves have items, languages in the order of the table."""
    chosen_on = choosing_half([own.item.claim for own in judged])
    found = []
    for tag in LANGUAGES:
        for mode in MODES:
            own = [one for one in judged if (one.item.language, one.mode) == (tag, mode)]
            choosing, reported = ([one for one in own if (one.item.claim in chosen_on) == half] for half in (True, False))
            if choosing and reported:
                found.append(_figures(tag, mode, choosing, reported))
    return found


def without_figures(items: Sequence[Item], modes: Sequence[str], figures: Sequence[FeedbackFigures]) -> list[tuple[str, str]]:
    """The languages and modes that were asked for and have no figures."""
    there = {(own.language, own.mode) for own in figures}
    tags = {item.language for item in items}
    return [(tag, mode) for tag in LANGUAGES if tag in tags for mode in modes if (tag, mode) not in there]


def chosen_threshold(scores: Sequence[float], right: Sequence[bool], weights: Sequence[float]) -> float:
    """The score from which abstaining has the highest abstain accuracy, infinity where it is best never to; of equal ones the highest, which abstains least."""

    def accuracy(threshold: float) -> float:
        return fsum(weight for score, hit, weight in zip(scores, right, weights, strict=True) if (score < threshold) == hit)

    return max((*scores, inf), key=lambda threshold: (round(accuracy(threshold), 9), threshold))


def _weights(judged: Sequence[Judged]) -> list[float]:
    """What each item counts in a mean over claims of the means of their items."""
    counts = Counter(own.item.claim for own in judged)
    return [1 / (counts[own.item.claim] * len(counts)) for own in judged]


def _figures(tag: str, mode: str, choosing: Sequence[Judged], reported: Sequence[Judged]) -> FeedbackFigures:
    threshold = chosen_threshold([own.score for own in choosing], [own.right for own in choosing], _weights(choosing))
    answering = fsum(weight for own, weight in zip(reported, _weights(reported), strict=True) if own.right)
    by_claim: dict[str, list[bool]] = {}
    for own in sorted(reported, key=lambda own: own.item.claim):
        by_claim.setdefault(own.item.claim, []).append((own.score < threshold) == own.right)
    rights, wrongs = ([own.score for own in reported if own.right == kind] for kind in (True, False))
    return FeedbackFigures(
        language=tag,
        mode=mode,
        in_english=tuple(sorted({tag, *(told for own in reported for told in own.languages)} - set(frames()))),
        threshold=threshold if isfinite(threshold) else None,
        chosen_on=len(choosing),
        outcomes=count_outcomes((own.right, own.score >= threshold) for own in reported),
        accuracy=estimate([fmean(own) for own in by_claim.values()], bounds=(0, 1)),
        plain=max(answering, 1 - answering),
        auc=auc(wrongs, rights) if rights and wrongs else None,
        calibration=calibration_error([1 - own.score for own in reported], [own.right for own in reported]),
    )
