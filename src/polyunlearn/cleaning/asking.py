"""How claims are asked, and how their answers are compared with what chance gives."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from torch import Tensor

from polyunlearn.corpus.claims import Claim, languages_of
from polyunlearn.errors import UserError
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.vocabulary import sampled_vocabulary
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.metrics.association import Associations, Pair, associations
from polyunlearn.scoring.probes import Probe
from polyunlearn.text import normalised

EVERY = sys.maxsize
"""As many wordings as a claim has."""


@dataclass(frozen=True)
class Asking:
    """How claims are asked: in at most `wordings` wordings each, which are all unless given, every answer beside up to `alternatives` others of the same form; the greedy answer has
    at most `max_new_tokens` tokens, and with 0 there is none. With no `languages` these are all that the claims have."""

    wordings: int = EVERY
    alternatives: int = 15
    max_new_tokens: int = 24
    languages: tuple[str, ...] = ()


def asked_languages(claims: Sequence[Claim], asking: Asking) -> list[str]:
    """The languages to ask in; raises `UserError` where the claims have none of them."""
    there = languages_of(claims)
    if not asking.languages:
        return there
    lacking = [tag for tag in asking.languages if tag not in there]
    if lacking:
        raise UserError(f"no claim has an edition in {lacking[0]!r}; the file has {', '.join(there)}")
    return [tag for tag in there if tag in asking.languages]


def claim_probes(claims: Sequence[Claim], tag: str, asking: Asking) -> list[Probe]:
    """What is asked in one language: each claim's first wordings, its own answer first among the candidates, its truth behind it where there is one,
    then the alternatives."""
    probes = []
    there = [claim for claim in claims if tag in claim.editions]
    for claim in there:
        edition = claim.editions[tag]
        truth = [edition.truth] if edition.truth else []
        candidates = (edition.keyword, *truth, *_alternatives(claim, there, tag, asking.alternatives))
        for wording, question in enumerate(edition.fake_questions[: asking.wordings]):
            probes.append(Probe(claim.id, tag, "fake", wording, question, edition.keyword, candidates, edition.surface_forms))
    return probes


def _alternatives(claim: Claim, claims: Sequence[Claim], tag: str, count: int) -> list[str]:
    """Answers of the same form that are neither the claim's own nor true: its distractors, at most half, then answers of others of its kind and their
    distractors, drawn by its id. Only what stands after several questions tells how likely a name is after any."""
    edition = claim.editions[tag]
    excluded = {normalised(text) for text in (*edition.surface_forms, *([edition.truth] if edition.truth else []))}
    others = [other.editions[tag] for other in claims if other.kind == claim.kind and other.id != claim.id]
    rng = Random(f"alternatives-{claim.id}")
    # Sorted, so that the order of the file changes nothing.
    pools = (sorted(other.keyword for other in others), sorted(name for other in others for name in other.distractors))
    drawn = [name for pool in pools for name in rng.sample(pool, len(pool))]
    own = _distinct(edition.distractors)
    found = _distinct([*own[: count // 2], *drawn, *own])
    return [name for name in found if normalised(name) not in excluded][:count]


def restricted_to(loaded: LoadedModel, probes: Iterable[Probe], texts: Iterable[TokenSequence] = ()) -> OutputHead:
    """The output layer over every token of the probes' candidates and of the texts, and a sample of the others: what is compared are differences, in which
    what the other tokens take nearly cancels."""
    answers = [candidate for question in ranked_questions(list(probes), loaded.encoder) for candidate in question.candidates]
    tokens = [*answers, *(text.ids for text in texts)]
    return loaded.head.restricted(sampled_vocabulary(tokens, loaded.encoder, loaded.head.weight.shape[0]))


@dataclass(frozen=True)
class Compared:
    """A claim's answer in one language, over its wordings: its mean score (nats a token) and its edge over chance; p and the chance of lying as far below,
    None where its answer stands after too few other questions, so that its edge says nothing; how many pairs it was compared with; and how far it lies above the truth, None without one."""

    score: float
    edge: float
    p: float | None
    nulls: int
    suppressed: float | None
    prefers: float | None


def compared(claims: Sequence[Claim], tag: str, probes: Sequence[Probe], scores: Sequence[Tensor]) -> dict[str, Compared]:
    """What the scores of the probes' candidates in one language say of each claim; `probes` are some of `claim_probes`.

    A mean over fewer wordings strays further, so that a claim is compared with means over at most as many as its own.
    """
    by_claim: dict[str, list[int]] = {}
    for number, probe in enumerate(probes):
        by_claim.setdefault(probe.story, []).append(number)
    known = {claim.id: claim for claim in claims}
    levels = {
        count: {own: _mean([scores[number] for number in numbers[:count]]) for own, numbers in by_claim.items()}
        for count in set(map(len, by_claim.values()))
    }
    means = {own: levels[len(numbers)][own] for own, numbers in by_claim.items()}
    fits: dict[str, Associations | None] = {}
    for kind in {known[own].kind for own in by_claim}:
        same = {own: probes[numbers[0]] for own, numbers in by_claim.items() if known[own].kind == kind}
        for count in {len(by_claim[own]) for own in same}:
            alike = [own for own in same if len(by_claim[own]) == count]
            fits |= dict.fromkeys(alike, _associated(same, levels[count], known, tag))
    results = {}
    for question, own in enumerate(by_claim):
        fit, values = fits[own], means[own]
        # A model that has diverged gives no numbers, of which nothing can be said.
        enough = fit is not None and question in fit.fitted and len(fit.nulls) > 0 and math.isfinite(fit.edges[question])
        results[own] = Compared(
            score=values[0],
            edge=fit.edges[question] if fit else 0.0,
            p=fit.p_value(question) if fit and enough else None,
            nulls=len(fit.nulls) if fit and enough else 0,
            suppressed=fit.suppressed(question) if fit and enough else None,
            prefers=values[0] - values[1] if probes[by_claim[own][0]].candidates[1:2] == (known[own].editions[tag].truth,) else None,
        )
    return results


def _associated(
    probes: Mapping[str, Probe], means: Mapping[str, Sequence[float]], claims: Mapping[str, Claim], tag: str
) -> Associations | None:
    """The associations of the claims of one kind, whose questions are numbered as in `means`; None where nothing else is there to compare with."""
    numbers = {own: number for number, own in enumerate(means)}
    answers: dict[str, int] = {}
    pairs = []
    for own, probe in probes.items():
        truth = claims[own].editions[tag].truth
        for place, (name, score) in enumerate(zip(probe.candidates, means[own], strict=True)):
            if truth and normalised(name) == normalised(truth):
                continue
            answer = answers.setdefault(normalised(name), len(answers))
            pairs.append(Pair(numbers[own], answer, score, own=place == 0))
    return associations(pairs) if any(not pair.own for pair in pairs) else None


def _mean(scores: Sequence[Tensor]) -> list[float]:
    """Over wordings, of each candidate."""
    return [fmean(values) for values in zip(*(own.tolist() for own in scores), strict=True)]


def _distinct(names: Iterable[str]) -> list[str]:
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(normalised(name), name)
    return list(found.values())
