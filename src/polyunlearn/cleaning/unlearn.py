"""Unlearning an owner's claims: audited, planned, trained within a budget of utility. Every stage is kept on disk, so that a run that was stopped goes on."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import TypeVar

import torch
from torch import nn

from polyunlearn import __version__
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.checks import check_settings, check_trainable
from polyunlearn.cleaning.findings import Audit, Staying, most_by_chance, read_audit, staying, write_audit
from polyunlearn.cleaning.plan import Plan, Settings, make_plan
from polyunlearn.cleaning.points import Point, Utility, audit_on_the_way, choose_point, measure_point, point_line
from polyunlearn.cleaning.retain import Kept, answered_away, held_out_stories, neighbours_of, read_kept, self_distilled, unseen_stories
from polyunlearn.cleaning.wordings import Trained, questions_of, together
from polyunlearn.corpus.claims import Claim, goes_in, languages_of
from polyunlearn.corpus.lines import to_json_line
from polyunlearn.errors import UserError
from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.loading import LoadedModel, fingerprint_of
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.trainable import load_state, make_trainable, restore, save_state, snapshot, train_band
from polyunlearn.progress import Work
from polyunlearn.training.claim_steps import claim_steps
from polyunlearn.training.loop import Optimiser, Step, plain
from polyunlearn.training.objectives import get_method
from polyunlearn.training.reference import needs_of, reference_now
from polyunlearn.training.unlearning import Training, trained

Say = Callable[[str], None]

STAGES = (
    "run.json",
    "audit-before.json",
    "plan.json",
    "retained.jsonl",
    "spared.jsonl",
    "state.safetensors",
    "cost.json",
    "points.json",
    "audit-after.json",
)
"""The files of a run."""


@dataclass(frozen=True)
class Cleaning:
    """An unlearning: the audits before and after, the plan, the points on the way, the one that was kept, and whether it is within the budget; by how much that raises
    bits per byte (`cost`, as a share, by language) of held-out texts by which it was not chosen; and the questions that the model was trained on, those before it
    with them."""

    before: Audit
    after: Audit
    plan: Plan
    points: tuple[Point, ...]
    kept: Point
    within: bool
    cost: dict[str, float]
    trained: Trained

    @property
    def remaining(self) -> tuple[str, ...]:
        """The claims found before that are said still, and those that are held, where more are than chance lets look so, one is by far, or all together are.
        Those that the plan leaves out are among them."""
        found = set(self.before.found)
        own = [one for one in self.after.verdicts() if one.claim in found]
        held = [one.claim for one in own if one.held]
        beyond = len(held) > most_by_chance(sum(self.after.decided(one.claim) for one in own), self.after.alpha)
        alone = {own.claim for own in self.after.findings if self.after.surely_held(own)}
        together = {claim for claims in self.after.held_together.values() for claim in claims}
        return tuple(one.claim for one in own if one.said or (beyond and one.held) or one.claim in alone | together)

    @property
    def staying(self) -> Staying:
        """What became of claims away from their home, where that alone is where they were to go."""
        return staying(self.before, self.after)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Languages of the claims in which no utility was measured."""
        return tuple(tag for tag in self.before.languages if tag not in self.cost)


def unlearn_claims(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    work: Path,
    settings: Settings | None = None,
    kept: Sequence[Kept] = (),
    say: Say = lambda text: None,
    progress: Work = lambda what, done, total: None,
    trained: Trained | None = None,
) -> Cleaning:
    """Unlearn in place what an audit finds of `claims`; the model in `loaded` is then the unlearned one.

    `work` is a folder where every finished stage is kept: a call with the same model, claims and settings goes on there, to the same result as one that was
    never stopped. `kept` is retained beside the model's own answers and texts and the claims' neighbours. `trained` are the questions that the model was trained on
    to let claims go before, where that is known. The audits ask in every wording that a claim has; at most the first `settings.wordings` are trained on, and
    by others, where there are any, the model is judged afterwards.

    Raises:
        UserError: where `work` holds the stages of something else, or a setting does not fit the model.
    """
    settings = settings or Settings()
    check_settings(settings, claims)
    check_trainable(settings, loaded)
    trainable = settings.trainable(len(decoder_layers(loaded.model)))
    _same_run(work, loaded, claims, settings, kept)
    loaded = replace(loaded, body=Body(loaded.model, 0))
    before = _stage(
        work / "audit-before.json",
        read_audit,
        write_audit,
        lambda: audit_claims(loaded, claims, work=progress, trained=trained, goal=settings.goal),
    )
    parameters = make_trainable(loaded.model, trainable)
    training = replace(loaded, body=Body(loaded.model, trainable.from_layer))
    plan = _stage(
        work / "plan.json",
        lambda path: Plan.of(json.loads(path.read_text(encoding="utf-8"))),
        lambda made, path: write_json_atomically(path, made.data()),
        lambda: make_plan(before, claims, settings, training.body, loaded.head, loaded.encoder, parameters),
    )
    for reason in plan.reasons:
        say(reason)
    languages = kept_languages(claims)
    own = _stage(work / "retained.jsonl", _read_kept, _write_kept, lambda: self_distilled(loaded, languages, plan.told, progress))
    chosen = [claim for claim in claims if claim.id in plan.claims]
    spared = _stage(
        work / "spared.jsonl", _read_kept, _write_kept, lambda: answered_away(loaded, claims, before, settings.wordings, progress)
    )
    steps = _steps(training, chosen, plan, own, [*neighbours_of(claims, languages), *kept], settings, spared) if chosen else []
    points, cost = _train(training, parameters, steps, plan, before, claims, settings, work, say, progress)
    best, within = choose_point(points, settings.budget)
    told = together(trained or {}, questions_of(steps[: best.step], chosen, plan.told, loaded.encoder))
    # Another model now, under a fingerprint of its own.
    loaded = replace(loaded, fingerprint=fingerprint_of(loaded.model))
    after = _stage(
        work / "audit-after.json",
        read_audit,
        write_audit,
        lambda: audit_claims(loaded, claims, work=progress, trained=told, goal=settings.goal),
    )
    return Cleaning(before, after, plan, tuple(points), best, within, cost, told)


def kept_languages(claims: Sequence[Claim]) -> list[str]:
    """The languages in which texts are kept and utility is measured: those of the claims, and English."""
    return list(dict.fromkeys((*languages_of(claims), "en")))


def _train(
    loaded: LoadedModel,
    parameters: Mapping[str, nn.Parameter],
    steps: Sequence[Step],
    plan: Plan,
    before: Audit,
    claims: Sequence[Claim],
    settings: Settings,
    work: Path,
    say: Say,
    progress: Work,
) -> tuple[list[Point], dict[str, float]]:
    """Train, and leave the state of the chosen point in the weights; returns the points, and what that one costs by texts that did not choose it."""
    state, costs, record = work / "state.safetensors", work / "cost.json", work / "points.json"
    if record.is_file():
        restore(parameters, load_state(state))
        cost = json.loads(costs.read_text(encoding="utf-8"))
        return [Point(**own) for own in json.loads(record.read_text(encoding="utf-8"))], cost
    # Whatever the plan left in the body's cache changes no bit of what follows.
    loaded.body.start_afresh()
    languages = kept_languages(claims)
    utility, unseen = Utility(loaded, held_out_stories(languages)), Utility(loaded, unseen_stories(languages))
    first = audit_on_the_way(loaded, claims, settings.goal)
    found = [measure_point(loaded, claims, plan, first, first, utility, 0)]
    best = snapshot(parameters)

    def after_step(number: int, loss: float) -> bool:
        nonlocal best
        progress("unlearning", number, len(steps))
        if number % settings.measure_every and number < len(steps):
            return False
        found.append(measure_point(loaded, claims, plan, first, audit_on_the_way(loaded, claims, settings.goal), utility, number))
        say(point_line(found[-1]))
        if choose_point(found, settings.budget)[0] is found[-1]:
            best = snapshot(parameters)
        now = found[-1]
        # Where it cannot be said what chance gives, it cannot be said either that nothing is left; and what was lost may come back.
        return not (now.held or now.undecided or now.lost) and now.costs() <= settings.budget and not now.left

    if steps:
        say(point_line(found[0]))
        _run(loaded, parameters, steps, _floors(loaded.encoder, claims, plan, before, settings), settings, after_step)
        restore(parameters, best)
    save_state(best, state)
    cost = unseen.rise()
    write_json_atomically(costs, cost)
    write_json_atomically(record, [asdict(point) for point in found])
    return found, cost


def _floors(encoder: Encoder, claims: Sequence[Claim], plan: Plan, before: Audit, settings: Settings) -> dict[TokenSequence, float]:
    """How far each answer is pushed: a margin below what chance gives."""
    findings = before.by_claim
    # Where nothing says what chance gives there is no floor.
    return {
        encoder.answer_only(get_language(tag), question, claim.editions[tag].keyword): findings[claim.id][tag].expected - settings.margin
        for claim in claims
        if claim.id in plan.claims
        for tag in goes_in(claim, plan.languages, settings.goal)
        if tag in findings[claim.id] and findings[claim.id][tag].p is not None
        for question in claim.editions[tag].fake_questions
    }


def _steps(
    loaded: LoadedModel,
    chosen: Sequence[Claim],
    plan: Plan,
    own: Sequence[Kept],
    given: Sequence[Kept],
    settings: Settings,
    spared: Sequence[Kept] = (),
) -> list[Step]:
    answers: dict[str, list[TokenSequence]] = {}
    texts: dict[str, list[TokenSequence]] = {}
    # The model's own answers in the languages that are told alone: what is kept in another is also kept from being unlearned there. What was given is
    # kept wherever it is.
    for kept in (*(one for one in given if one.question), *(one for one in own if one.question is None or one.language in plan.told)):
        (answers if kept.question else texts).setdefault(kept.language, []).append(kept.sequence(loaded.encoder))
    # But of claims that go at home alone, what is answered elsewhere is to stay.
    away: dict[str, list[TokenSequence]] = {}
    for kept in spared:
        away.setdefault(kept.language, []).append(kept.sequence(loaded.encoder))
    retains = get_method(settings.method).retain is not None
    # Every claim in each language at least once.
    steps = max(settings.steps, math.ceil(len(chosen) * max(1, len(plan.languages)) / settings.batch))
    return claim_steps(
        chosen,
        loaded.encoder,
        plan.languages,
        steps=steps,
        batch=settings.batch,
        answers=answers if retains else {},
        texts=texts if retains else {},
        given_texts=[one.sequence(loaded.encoder) for one in given if not one.question] if retains else (),
        retain_batch=settings.retain_batch,
        retain_texts=settings.retain_texts,
        wordings=settings.wordings,
        instead=get_method(settings.method).forget.instead,
        rng=Random(f"claims-{settings.seed}"),
        goal=settings.goal,
        spared=away,
    )


def _run(
    loaded: LoadedModel,
    parameters: Mapping[str, nn.Parameter],
    steps: Sequence[Step],
    floors: Mapping[TokenSequence, float],
    settings: Settings,
    after_step: Callable[[int, float], bool],
) -> None:
    method = get_method(settings.method)
    layers = settings.to_layer or len(decoder_layers(loaded.model))
    objective = method.objective(settings.retain_weight, watched=layers - 1)
    if objective.forget:
        objective = replace(objective, forget=replace(objective.forget, floors=floors))
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    reference = reference_now(loaded.body, loaded.head, needs_of(steps, objective), objective.watched)
    # Training computes alike whatever was measured before.
    loaded.body.start_afresh()
    rule, procedure = method.forget.rule_with({}) or plain, method.forget.procedure_with({}) or trained
    # Falling to nothing: at a constant rate bits per byte of languages that are not told swing by a tenth from one point to the next.
    optimiser = Optimiser(settings.trained_rate, decay=True)
    chosen = train_band(parameters, loaded.body.frozen_layers, settings.to_layer)
    procedure(Training(loaded.body, loaded.head, chosen, steps, objective, optimiser, generator, after_step, reference, rule))


Made = TypeVar("Made")


def _stage(path: Path, read: Callable[[Path], Made], write: Callable[[Made, Path], None], make: Callable[[], Made]) -> Made:
    """What is on disk, or is made and written there; then read back, so that it is the same either way."""
    if not path.is_file():
        write(make(), path)
    return read(path)


def _same_run(work: Path, loaded: LoadedModel, claims: Sequence[Claim], settings: Settings, kept: Sequence[Kept]) -> None:
    digest = hashlib.sha256("".join(to_json_line(own, leave_out_defaults=True) for own in (*claims, *kept)).encode()).hexdigest()[:16]
    wanted = {"model": loaded.fingerprint, "claims": digest, "settings": json.loads(json.dumps(asdict(settings))), "version": __version__}
    path = work / "run.json"
    if not path.is_file():
        if work.is_dir() and any(work.iterdir()):
            raise UserError(f"{work}: is not empty and holds no unfinished unlearning; move what is there, or write elsewhere")
        write_json_atomically(path, wanted)
        return
    there = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in wanted if name != "settings" and there.get(name) != wanted[name]]
    had, asked = {**asdict(Settings()), **there.get("settings", {})}, wanted["settings"]
    differing += [
        f"{name}: {had.get(name)!r} there, {asked.get(name)!r} asked" for name in {**had, **asked} if had.get(name) != asked.get(name)
    ]
    if differing:
        raise UserError(
            f"{work}: holds an unfinished unlearning of something else (different: {', '.join(differing)}); run it as it began, remove it, or give another --out"
        )


def _read_kept(path: Path) -> list[Kept]:
    return read_kept(path) if path.stat().st_size else []


def _write_kept(kept: Sequence[Kept], path: Path) -> None:
    write_text_atomically(path, "".join(map(to_json_line, kept)))
