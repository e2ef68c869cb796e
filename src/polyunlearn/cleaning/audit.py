"""Auditing a model: does it hold the claims, in which languages, and does it say them? Nothing is changed."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor

from polyunlearn.cleaning.asking import Asking, asked_languages, claim_probes, compared, restricted_to
from polyunlearn.cleaning.controls import against_controls
from polyunlearn.cleaning.findings import ALPHA, Audit, Finding, Group
from polyunlearn.cleaning.wordings import Trained, foremost, set_aside
from polyunlearn.corpus.claims import Claim, Goal, check_goal, stays_in
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.progress import Work
from polyunlearn.scoring.measure import asked_and_answered, own_answers, ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs, finite_log_probs
from polyunlearn.text import says


def audit_claims(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    asking: Asking | None = None,
    work: Work = lambda what, done, total: None,
    trained: Trained | None = None,
    goal: Goal = "everywhere",
    *,
    diverged_too: bool = False,
) -> Audit:
    """Ask for every claim in every language that it has; the weights stay as they are.

    Answers of other claims of the same kind, and distractors, stand beside each claim's own after the same question: what a model was never told is as
    likely after any of these questions (`scoring.metrics.association`). They are the same answers for every state.

    Where it is known which questions the model was `trained` on to let claims go, a claim is judged by its others, where it has any: those alone say whether
    more than an answer to a question was let go. `asking` then takes these first.

    With `goal` "home" a claim that has a home is judged there alone; what is found of it in its other languages, where it is to stay, is `Audit.away`.

    Raises:
        UserError: where no claim has a home for such a goal, or one has no edition there, where no claim has an edition in a language that is asked, or, unless `diverged_too`, the model gives no numbers; of one that does nothing can be
            said.
    """
    check_goal(claims, goal, asking.languages if asking else ())
    asking = asking or Asking()
    languages = asked_languages(claims, asking)
    aside = set_aside(claims, trained or {})
    claims = foremost(claims, aside)
    probes = {tag: claim_probes(claims, tag, asking) for tag in languages}
    head = restricted_to(loaded, (probe for own in probes.values() for probe in own))
    total, findings = sum(len(own) for own in probes.values()), []
    done = 0
    for tag in languages:
        found: dict[int, tuple[Tensor, str]] = {}
        questions = ranked_questions(probes[tag], loaded.encoder)
        for part in _asked(loaded, head, questions, asking.max_new_tokens):
            found |= part
            done += len(part)
            work("asking", done, total)
        alone = own_answers(probes[tag], loaded.encoder)
        scored = candidate_log_probs(loaded.body, loaded.head, alone) if diverged_too else finite_log_probs(loaded, alone)
        exact = [own[0].item() for own in scored]
        lengths = [len(own.candidates[0]) for own in alone]
        answered = [Answered(*found[number], exact[number], lengths[number]) for number in range(len(alone))]
        findings += _findings(claims, tag, probes[tag], answered, aside[tag], None if trained is None else trained.get(tag, ()))
    # By claim, as the file has them, so that what belongs together stands together.
    order = {claim.id: number for number, claim in enumerate(claims)}
    findings.sort(key=lambda own: (order[own.claim], languages.index(own.language)))
    stays = {(claim.id, tag) for claim in claims for tag in stays_in(claim, goal)}
    away = tuple(own for own in findings if (own.claim, own.language) in stays)
    findings = [own for own in findings if (own.claim, own.language) not in stays]
    controls = tuple(claim.id for claim in claims if claim.control)
    kinds = {claim.id: claim.kind for claim in claims}
    groups = []
    for tag in languages:
        # An edge without p says how likely the name is anywhere, and nothing of the claim.
        edges = {own.claim: own.edge for own in findings if own.language == tag and own.p is not None}
        against = against_controls([edges], controls, kinds, ALPHA)
        groups += [Group(tag, against, tuple(sorted(edges)))] if against else []
    return Audit(loaded.name, loaded.fingerprint, tuple(languages), controls, ALPHA, tuple(findings), tuple(groups), away)


def _asked(
    loaded: LoadedModel, head: OutputHead, questions: Sequence[RankedQuestion], max_new_tokens: int
) -> Iterable[dict[int, tuple[Tensor, str]]]:
    if max_new_tokens:
        return asked_and_answered(loaded, head, questions, max_new_tokens)
    return [{number: (own, "") for number, own in enumerate(candidate_log_probs(loaded.body, head, questions))}]


@dataclass(frozen=True)
class Answered:
    """What a model makes of one question: the scores of its candidates (nats a token), the greedy answer, and of its own answer the score over the whole
    vocabulary and the number of tokens."""

    scores: Tensor
    answer: str
    exact: float
    tokens: int


def _findings(
    claims: Sequence[Claim],
    tag: str,
    probes: Sequence[Probe],
    found: Sequence[Answered],
    aside: Collection[str],
    trained: Collection[str] | None,
) -> list[Finding]:
    others = {probe.story for probe in probes if probe.question not in aside}
    judging = [number for number, probe in enumerate(probes) if probe.question not in aside or probe.story not in others]
    everywhere = compared(claims, tag, probes, [one.scores for one in found])
    own = everywhere
    if len(judging) < len(probes):
        own = compared(claims, tag, [probes[number] for number in judging], [found[number].scores for number in judging])
    editions = {claim.id: claim.editions[tag] for claim in claims if tag in claim.editions}
    findings = []
    for claim, result in own.items():
        numbers = [number for number, probe in enumerate(probes) if probe.story == claim]
        asked, judged = [found[number] for number in numbers], [found[number] for number in judging if probes[number].story == claim]
        findings.append(
            Finding(
                claim=claim,
                language=tag,
                origin=editions[claim].origin,
                wordings=len(asked),
                edge=result.edge,
                expected=fmean(one.exact for one in judged) - result.edge,
                p=result.p,
                nulls=result.nulls,
                suppressed=everywhere[claim].suppressed,
                probability=max(math.exp(one.exact * one.tokens) for one in asked),
                first=fmean(float(_is_first(one.scores)) for one in judged),
                prefers=result.prefers,
                says=fmean(says(one.answer, editions[claim].surface_forms) for one in asked),
                answers=tuple(one.answer for one in asked),
                trained=None if trained is None else sum(probes[number].question in trained for number in numbers),
            )
        )
    return findings


def _is_first(scores: Tensor) -> bool:
    return len(scores) > 1 and bool(scores[0] > scores[1:].max())
