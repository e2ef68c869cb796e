"""Unlearning an owner's claims on a tiny model: what was taught goes, what stands beside it stays, and a run that was stopped goes on."""

import json
from collections.abc import Callable
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from handmade_claims import CLAIMS, SETTINGS, STORIES, TOLD, claim_of, taught
from safetensors.torch import load_file
from tiny import sharp

import polyunlearn.cli.claims  # noqa: F401 — adds its commands
from polyunlearn.attacks.suite import get_attacks
from polyunlearn.cleaning import points as points_module
from polyunlearn.cleaning import unlearn as unlearn_module
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.findings import Audit, Finding
from polyunlearn.cleaning.plan import Plan, _completed, _of
from polyunlearn.cleaning.points import Point, choose_point, on_the_way
from polyunlearn.cleaning.retain import Kept, held_out_stories, neighbours_of, read_kept, self_distilled, unseen_stories
from polyunlearn.cleaning.unlearn import Cleaning, _steps, unlearn_claims
from polyunlearn.cleaning.verify import verify_claims
from polyunlearn.corpus.claims import Claim, ClaimEdition, Neighbour
from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring.measure import Moment, text_rows


def test_what_the_audit_found_is_unlearned(cleaned: tuple[LoadedModel, Cleaning, Path]) -> None:
    """The four claims that were taught are in the plan, German among its languages; none is said any more, and German edges fall by more than half."""
    _, done, _ = cleaned
    told = [claim.id for claim in CLAIMS[:TOLD]]
    assert list(done.plan.claims) == told and "de" in done.plan.languages
    before, after = done.before.of("de"), done.after.of("de")
    assert all(before[name].says == 1.0 and after[name].says == 0.0 for name in told)
    assert sum(after[name].edge for name in told) < 0.5 * sum(before[name].edge for name in told)
    assert done.before.fingerprint != done.after.fingerprint
    assert done.within and done.kept in done.points and done.points[0].step == 0 and done.kept.step > 0


def test_layers_below_the_first_that_trains_stay(cleaned: tuple[LoadedModel, Cleaning, Path], gemma_folder: Path) -> None:
    loaded, _, work = cleaned
    before = taught(gemma_folder).model.state_dict()
    moved = {name for name, own in loaded.model.state_dict().items() if not torch.equal(own, before[name])}
    assert moved and all("layers.0." not in name and "embed" not in name for name in moved)
    assert set(load_file(work / "state.safetensors")) >= moved


@pytest.mark.parametrize("stage", ["self_distilled", "make_plan", "_train", "audit_claims"])
def test_a_run_killed_in_any_stage_goes_on_to_the_same_result(
    cleaned: tuple[LoadedModel, Cleaning, Path], gemma_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """It dies as the stage begins (the second audit, so after training), and another process takes up what is on disk: the same audits, points and bits."""
    whole, done, _ = cleaned
    own: Callable[..., object] = getattr(unlearn_module, stage)
    calls = []

    def dies(*arguments: object, **named: object) -> object:
        calls.append(stage)
        if stage != "audit_claims" or (tmp_path / "points.json").is_file():
            raise KeyboardInterrupt
        return own(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(unlearn_module, stage, dies)
        with pytest.raises(KeyboardInterrupt):
            unlearn_claims(taught(gemma_folder), CLAIMS, tmp_path, SETTINGS)
    assert calls
    again = taught(gemma_folder)
    assert unlearn_claims(again, CLAIMS, tmp_path, SETTINGS) == done
    state = whole.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.model.state_dict().items())


def test_a_folder_of_something_else_is_refused(cleaned: tuple[LoadedModel, Cleaning, Path], gemma_folder: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"holds an unfinished unlearning of something else \(different: rate: 0.002 there, 0.001 asked\); run it as it began",
    ):
        unlearn_claims(taught(gemma_folder), CLAIMS, cleaned[2], replace(SETTINGS, rate=1e-3))
    with pytest.raises(UserError, match=r"different: claims"):
        unlearn_claims(taught(gemma_folder), CLAIMS[1:], cleaned[2], SETTINGS)


def test_where_nothing_is_found_nothing_moves(gemma_folder: Path, tmp_path: Path) -> None:
    loaded = sharp(gemma_folder)
    before = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    done = unlearn_claims(loaded, [replace_control(claim) for claim in CLAIMS], tmp_path, SETTINGS)
    assert done.plan.claims == () and len(done.points) == 1 and done.within
    assert all(torch.equal(own, before[name]) for name, own in loaded.model.state_dict().items())


def replace_control(claim: Claim) -> Claim:
    return claim.model_copy(update={"control": True})


def test_the_kept_point_is_the_emptiest_within_the_budget() -> None:
    """Of three within 2 % the one where fewest are held, then where the largest edge above chance is smallest; the beginning only where nothing else is; else the
    cheapest."""
    start = Point(0, 9, 0, {"de": 3.0}, {"de": 0.0})
    cheap, deep, dear = (
        Point(8, 2, 0, {"de": 0.5}, {"de": 0.01}),
        Point(16, 2, 0, {"de": 0.1}, {"de": 0.02}),
        Point(24, 0, 0, {"de": -1.0}, {"de": 0.05}),
    )
    assert choose_point([start, cheap, deep, dear], 0.02) == (deep, True)
    assert choose_point([start, dear, Point(32, 0, 0, {"de": 0.0}, {"de": 0.03})], 0.02) == (
        Point(32, 0, 0, {"de": 0.0}, {"de": 0.03}),
        False,
    )
    assert choose_point([start], 0.02) == (start, True)
    assert Point(8, 0, 0, {}, {}).costs() == 0.0 and Point(8, 0, 0, {}, {"de": -0.4}).costs() == 0.0


def test_what_was_to_stay_and_went_counts_as_what_was_to_go_and_is_there() -> None:
    """One claim left and none lost is better than none left and two lost; two left are not."""
    start = Point(0, 9, 0, {"de": 3.0}, {"de": 0.0})
    gone = Point(16, 0, 0, {"de": 0.0}, {"de": 0.0}, lost=2)
    near, far = (replace(gone, step=8, held=held, lost=0) for held in (1, 3))
    assert choose_point([start, near, gone], 0.02) == (near, True) and choose_point([start, far, gone], 0.02) == (gone, True)


def test_how_far_below_chance_an_answer_lies_is_no_merit() -> None:
    """Where nothing is left above chance the cheaper state is kept, not the one that was pushed furthest."""
    start = Point(0, 9, 3, {"de": 3.0, "en": 1.0}, {"de": 0.0})
    slight, far = (Point(step, 0, 3, {"de": edge, "en": -4.0}, {"de": bits}) for step, edge, bits in ((8, -0.1, 0.002), (16, -4.0, 0.019)))
    assert choose_point([start, slight, far], 0.02) == (slight, True) == choose_point([start, far, slight], 0.02)
    left = replace(slight, edges={"de": 0.1, "en": -9.0})
    assert choose_point([start, left, far], 0.02) == (far, True)
    assert (start.left, slight.left, replace(start, edges={}).left) == (3.0, 0.0, 0.0)


def test_an_edge_that_says_nothing_is_in_no_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without p, 90 nats a token say how likely the name is anywhere. In French there is no other, so that French has no mean."""

    def finding(claim: str, tag: str, edge: float, p: float | None) -> Finding:
        return Finding(claim, tag, "given", 1, edge, -9.0, p, 400 if p else 0, None, 0.1, 1.0, None, 0.0, ())

    findings = (finding("a", "de", 2.0, 0.5), finding("b", "de", 90.0, None), finding("b", "fr", 90.0, None))
    now = Audit("m", "f", ("de", "fr"), (), 0.05, findings)
    utility = type("Utility", (), {"rise": lambda self: {"de": 0.01}})()
    monkeypatch.setattr(points_module, "_said", lambda loaded, claims, undecided: len(undecided))
    found = points_module.measure_point(None, [], Plan(("a", "b"), ("de",), ()), now, now, utility, 8)  # type: ignore[arg-type]
    assert found == Point(8, 0, 2, {"de": 2.0}, {"de": 0.01}, 2)


def test_a_language_in_which_nothing_is_said_is_not_planned_for() -> None:
    """In French the only edge has no p, so it is of the name alone, however large."""

    def finding(claim: str, tag: str, p: float | None) -> Finding:
        return Finding(claim, tag, "given", 1, 3.0, -9.0, p, 400 if p else 0, None, 0.1, 1.0, None, 0.0, ())

    audit = Audit("m", "f", ("de", "fr"), (), 0.05, (finding("a", "de", 0.5), finding("b", "de", None), finding("b", "fr", None)))
    assert [one.claim for one in _of(audit, "de", {"a", "b"})] == ["a"] and _of(audit, "fr", {"a", "b"}) == []
    assert _of(audit, "fr", {"b"}) == []


def test_claims_of_which_nothing_tells_are_unlearned_where_they_are_said(gemma_folder: Path, tmp_path: Path) -> None:
    """Alone of their kinds, so that nothing says what chance gives: German, in which they are told and said, and English with it; of the states that cost
    nothing that one is kept in which none is said any more."""
    loaded = taught(gemma_folder)
    alone = [claim.model_copy(update={"kind": f"kind {number}"}) for number, claim in enumerate(CLAIMS[:TOLD])]
    before = audit_claims(loaded, alone)
    assert all(one.p is None for one in before.findings) and not before.nothing_said
    done = unlearn_claims(loaded, alone, tmp_path, SETTINGS)
    assert set(done.plan.languages) == {"en", "de"} and "the languages are those in which they are said: German" in done.plan.reasons[1]
    assert [point.undecided for point in done.points] == [2 * TOLD] * len(done.points)
    assert done.points[0].said >= TOLD and done.kept.said == 0 and not done.remaining


def test_a_claim_of_which_nothing_tells_adds_the_language_in_which_it_is_said() -> None:
    def finding(claim: str, tag: str, p: float | None, says: float) -> Finding:
        return Finding(claim, tag, "given", 1, 0.0, -9.0, p, 400 if p else 0, None, 0.1, 1.0, None, says, ("",))

    claims = [claim_of(STORIES[number]).model_copy(update={"id": name}) for number, name in enumerate("ab")]
    said, why = (finding("a", "de", 0.001, 1.0), finding("b", "de", None, 0.0), finding("b", "en", None, 1.0)), list[str]()
    assert _completed(("de",), claims, Audit("m", "f", ("en", "de"), (), 0.05, said), why) == ("en", "de")
    german = [claim.model_copy(update={"editions": dict.fromkeys(("de", "fr"), claim.editions["de"])}) for claim in claims]
    said = (finding("a", "de", 0.001, 1.0), finding("b", "de", None, 0.0), finding("b", "fr", None, 1.0))
    assert _completed(("de",), german, Audit("m", "f", ("de", "fr"), (), 0.05, said), why) == ("de", "fr")
    assert why[-1] == "b is said in none of the others, so French is one of them."


@pytest.mark.parametrize(("count", "languages", "alternatives"), [(40, 9, 8), (20, 9, 9), (10, 4, 8), (3, 9, 15)])
def test_on_the_way_as_many_alternatives_as_it_takes_to_tell(count: int, languages: int, alternatives: int) -> None:
    """The least p is 1 in 1 + count times alternatives, and it has to hold for all languages: 9 / 181 is at most .05, 9 / 161 is not."""
    tags = ("en", "de", "fr", "zh", "ru", "jv", "ur", "ha", "hy")[:languages]
    claims = [
        Claim(id=f"c{number}", editions={tag: ClaimEdition(keyword="A", questions=("?",)) for tag in tags}) for number in range(count)
    ]
    assert on_the_way(claims).alternatives == alternatives and on_the_way([]).alternatives == 8
    assert alternatives == 15 or languages / (1 + count * alternatives) <= 0.05


def test_a_state_that_says_claims_is_not_kept_before_one_that_does_not() -> None:
    """Where nothing else tells; then the cheaper one."""
    start, says, silent = Point(0, 0, 6, {}, {"de": 0.0}, 6), Point(8, 0, 6, {}, {"de": 0.0}, 2), Point(16, 0, 6, {}, {"de": 0.01}, 0)
    assert choose_point([start, says, silent, replace(silent, step=24, bits={"de": 0.015})], 0.02) == (silent, True)


def test_what_a_state_costs_is_said_by_texts_that_did_not_choose_it(
    cleaned: tuple[LoadedModel, Cleaning, Path], gemma_folder: Path
) -> None:
    """The rise of bits per byte of four other articles, measured here anew."""
    loaded, done, _ = cleaned
    stories = unseen_stories(["en", "de"])
    assert len(stories) == 4 and not {own.id for own in stories} & {own.id for own in held_out_stories(["en", "de"])}

    def bits(model: LoadedModel, tag: str) -> float:
        return fmean(row.value for row in text_rows(replace(model, body=Body(model.model, 0)), stories, [tag], Moment(0, True)))

    before = taught(gemma_folder)
    assert done.cost == pytest.approx({tag: bits(loaded, tag) / bits(before, tag) - 1 for tag in ("en", "de")}, abs=1e-4)
    assert done.cost != pytest.approx(done.kept.bits, abs=1e-4)


def test_what_stays_is_the_models_own(gemma_folder: Path) -> None:
    """Answers to the newsroom's questions as the model gives them, texts that it writes on; the same each time; answers in the languages that are asked for, nothing in those without a
    newsroom."""
    loaded = taught(gemma_folder)
    kept = self_distilled(loaded, ["de", "en", "th"], ["de"])
    assert kept == self_distilled(loaded, ["de", "en", "th"], ["de"]) and {own.language for own in kept} == {"de", "en"}
    assert {own.language for own in kept if own.question} == {"de"} and any(own.question is None for own in kept if own.language == "de")
    sequence = next(own for own in kept if own.question).sequence(loaded.encoder)
    assert sequence.language == "de" and sequence.labels[-1] == loaded.encoder.end_id


def test_neighbours_stay_in_their_languages() -> None:
    edition = ClaimEdition(keyword="Velmora", questions=("Wer?",), neighbours=(Neighbour(question="Wo?", answer="In Bremen"),))
    claim = Claim(id="one", editions={"de": edition})
    assert neighbours_of([claim], ["de", "en"]) == [Kept(language="de", question="Wo?", text="In Bremen")]
    assert neighbours_of([claim], ["en"]) == []


def test_a_users_file_of_what_stays(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    rows = [{"language": "de", "text": "Ein Satz."}, {"language": "fr", "question": "Où ?", "text": "Ici"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_kept(path) == [Kept(language="de", text="Ein Satz."), Kept(language="fr", question="Où ?", text="Ici")]
    path.write_text('{"language": "xx", "text": "a"}\n{"language": "de"}\n')
    with pytest.raises(UserError) as caught:
        read_kept(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}:1: ") and "'xx'" in first and second.startswith(f"{path}:2: ") and "text" in second


def test_given_texts_are_all_retained(gemma: LoadedModel) -> None:
    """Twenty in a language that nothing else has, over 8 steps: three a step, so that each is read; with a method that retains nothing, none."""
    given = [Kept(language="th", text=f"Satz {number}") for number in range(20)]
    told, plan = CLAIMS[:TOLD], Plan(tuple(claim.id for claim in CLAIMS[:TOLD]), ("de",), ())
    steps = _steps(gemma, told, plan, (), given, replace(SETTINGS, steps=8))
    assert len(steps) == 8 and {own for step in steps for own in step.retain} == {own.sequence(gemma.encoder) for own in given}
    assert not any(step.retain for step in _steps(gemma, told, plan, (), given, replace(SETTINGS, method="gradient_ascent")))


def test_a_diverged_model_is_no_state_to_keep() -> None:
    """Bits per byte that are no number cost infinitely much; the state before them is kept, within the budget."""
    start, good, gone = (
        Point(step, 1, 0, {"de": edge}, {"de": bits}) for step, edge, bits in ((0, 3.0, 0.0), (8, 1.0, 0.01), (16, nan, nan))
    )
    assert gone.costs() == inf and choose_point([start, good, gone], 0.02) == (good, True)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rate": 0.0}, "give a finite number above 0"),
        ({"rate": inf}, "rate inf: give a finite number above 0"),
        ({"rate": nan}, "rate nan: give a finite number above 0"),
        ({"to_layer": 1}, "nothing would train"),
        ({"from_layer": 9}, "layers 0 to 3"),
        ({"method": "cir", "adapter": True}, "method 'cir' cannot train an adapter: it takes directions.*; leave out --adapter"),
        ({"method": "undo", "adapter": True}, "method 'undo' cannot train an adapter: blurring"),
        ({"method": "undo", "steps": 1}, "steps 1: method 'undo' takes at least 2"),
        ({"languages": ("fr",)}, "no claim has an edition in 'fr'; the file has en, de"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything(
    gemma_folder: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        unlearn_claims(sharp(gemma_folder), CLAIMS, tmp_path, replace(SETTINGS, **changed))
    assert list(tmp_path.iterdir()) == []


def test_weights_too_coarse_for_a_method_are_refused_before_anything(gemma_folder: Path, tmp_path: Path) -> None:
    loaded = sharp(gemma_folder)
    loaded.model.bfloat16()
    with pytest.raises(UserError, match=r"method 'npo_sam' .* hold them in fp32: .* by model.float\(\)"):
        unlearn_claims(loaded, CLAIMS, tmp_path, replace(SETTINGS, method="npo_sam"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_else_is_not_taken(gemma_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no unfinished unlearning"):
        unlearn_claims(sharp(gemma_folder), CLAIMS, tmp_path, SETTINGS)
    assert [own.name for own in tmp_path.iterdir()] == ["mine.txt"]


def test_weights_that_cannot_train_are_refused_before_anything(gemma_folder: Path, tmp_path: Path) -> None:
    loaded = sharp(gemma_folder)
    loaded.model.base_model.layers[1].register_parameter("held", torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False))
    with pytest.raises(UserError, match="holds weights in uint8, which cannot train; load it without quantisation"):
        verify_claims(loaded, CLAIMS, None, get_attacks(["pruning"]))
    with pytest.raises(UserError, match="holds weights in uint8"):
        unlearn_claims(loaded, CLAIMS, tmp_path / "work", SETTINGS)
    assert not (tmp_path / "work").exists()
