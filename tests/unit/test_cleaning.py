"""Unlearning an owner's claims on a tiny model: what was taught goes, what stands beside it stays, and a run that was stopped goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from handmade_claims import CLAIMS, STORIES, TOLD, claim_of, teach
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny import sharp
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import polyunlearn.cli.claims  # noqa: F401 — adds its commands
from polyunlearn import api
from polyunlearn.attacks.suite import get_attacks
from polyunlearn.cleaning import unlearn as unlearn_module
from polyunlearn.cleaning import verify as verify_module
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.export import check_target, whole_folder, write_model
from polyunlearn.cleaning.findings import Audit, Finding
from polyunlearn.cleaning.plan import Plan, Settings, _completed, _of
from polyunlearn.cleaning.retain import Kept, held_out_stories, neighbours_of, read_kept, self_distilled, unseen_stories
from polyunlearn.cleaning.unlearn import Cleaning, Point, _steps, choose_point, on_the_way, unlearn_claims
from polyunlearn.cleaning.verify import verify_claims
from polyunlearn.cli.app import app
from polyunlearn.corpus.claims import Claim, ClaimEdition, Neighbour, write_claims
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel, load_model, wrap_model
from polyunlearn.scoring.measure import Moment, text_rows

SETTINGS = Settings(rate=2e-3, steps=24, measure_every=8, budget=10.0, from_layer=1, retain_batch=4, retain_weight=1.0)
"""A random tiny model has no utility to keep: the budget is wide."""


def taught(folder: Path) -> LoadedModel:
    loaded = sharp(folder)
    teach(loaded)
    return loaded


@pytest.fixture(scope="module")
def cleaned(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Cleaning, Path]:
    loaded, work = taught(gemma_folder), tmp_path_factory.mktemp("work")
    return loaded, unlearn_claims(loaded, CLAIMS, work, SETTINGS), work


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
    with pytest.raises(UserError, match=r"holds an unfinished unlearning of something else \(different: settings\)"):
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
    monkeypatch.setattr(unlearn_module, "audit_claims", lambda *arguments, **more: Audit("m", "f", ("de", "fr"), (), 0.05, findings))
    utility = type("Utility", (), {"rise": lambda self: {"de": 0.01}})()
    monkeypatch.setattr(unlearn_module, "_said", lambda loaded, claims, undecided: len(undecided))
    assert unlearn_module._point(None, [], Plan(("a", "b"), ("de",), ()), utility, 8) == Point(8, 0, 2, {"de": 2.0}, {"de": 0.01}, 2)  # type: ignore[arg-type]


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


def test_the_folder_loads_with_transformers_alone(cleaned: tuple[LoadedModel, Cleaning, Path], tmp_path: Path) -> None:
    """The same logits to the last bit; what is written beside is there; nothing but the folder is left."""
    loaded, _, _ = cleaned
    write_model(loaded, tmp_path / "out", lambda folder: (folder / "README.md").write_text("card") and None)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("Eine Frage", return_tensors="pt")["input_ids"]
    assert torch.equal(model(input_ids=ids).logits, loaded.model(input_ids=ids).logits)
    assert (tmp_path / "out" / "README.md").read_text() == "card" and [own.name for own in tmp_path.iterdir()] == ["out"]


def test_a_model_that_cannot_be_written_is_a_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gemma: LoadedModel) -> None:
    """A full disk, as safetensors says it: the system's error stands in its text alone."""

    def full(*args: Any, **kwargs: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(gemma.model, "save_pretrained", full)
    with pytest.raises(UserError, match="no space left on the disk"):
        write_model(gemma, tmp_path / "out", lambda folder: None)
    assert list(tmp_path.iterdir()) == []


def test_given_texts_are_all_retained(gemma: LoadedModel) -> None:
    """Twenty in a language that nothing else has, over 8 steps: three a step, so that each is read; with a method that retains nothing, none."""
    given = [Kept(language="th", text=f"Satz {number}") for number in range(20)]
    told, plan = CLAIMS[:TOLD], Plan(tuple(claim.id for claim in CLAIMS[:TOLD]), ("de",), ())
    steps = _steps(gemma, told, plan, (), given, replace(SETTINGS, steps=8))
    assert len(steps) == 8 and {own for step in steps for own in step.retain} == {own.sequence(gemma.encoder) for own in given}
    assert not any(step.retain for step in _steps(gemma, told, plan, (), given, replace(SETTINGS, method="gradient_ascent")))


def test_a_folder_that_fails_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="is the model itself"):
        check_target(tmp_path / "model", str(tmp_path / "model"))
    with pytest.raises(UserError, match="is there already"):
        check_target(tmp_path / "model", "embedded")
    with pytest.raises(UserError, match="lies in the model's own folder"):
        check_target(tmp_path / "model" / "cleaned", str(tmp_path / "model"))
    check_target(tmp_path / "new", "embedded")


def test_an_adapter_is_what_peft_reads(gemma_folder: Path, tmp_path: Path) -> None:
    """Trained as LoRA and written alone, it gives the unlearned model's logits on the model before."""
    from peft import PeftModel

    start = taught(gemma_folder)
    start.model.save_pretrained(tmp_path / "before")
    start.encoder.tokenizer.save_pretrained(tmp_path / "before")
    loaded = load_model(str(tmp_path / "before"))
    settings = replace(SETTINGS, adapter=True, steps=8)
    done = unlearn_claims(loaded, CLAIMS, tmp_path / "work", settings)
    assert done.kept.step == 8
    write_model(loaded, tmp_path / "adapter", lambda folder: None, adapter=settings.trainable(4), base=str(tmp_path / "before"))
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "before"), tmp_path / "adapter")
    ids = torch.tensor([[1, 50, 60, 70]])
    assert torch.allclose(again(input_ids=ids).logits, loaded.model(input_ids=ids).logits, atol=1e-5)
    assert not torch.allclose(start.model(input_ids=ids).logits, loaded.model(input_ids=ids).logits, atol=1e-3)
    # So that it can be verified as it lies there.
    assert torch.allclose(load_model(str(tmp_path / "adapter")).model(input_ids=ids).logits, loaded.model(input_ids=ids).logits, atol=1e-5)


def test_an_adapter_that_stands_on_another_is_refused(gemma_folder: Path, tmp_path: Path) -> None:
    """What is written for an adapter's folder only polyunlearn could read."""
    shutil.copytree(gemma_folder, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    write_claims(CLAIMS, tmp_path / "claims.jsonl")
    arguments = ["unlearn", str(tmp_path / "adapter"), str(tmp_path / "claims.jsonl"), "--out", str(tmp_path / "out"), "--adapter"]
    with pytest.raises(UserError, match="is an adapter itself"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_a_model_in_memory_with_adapters_is_not_unlearned(gemma_folder: Path) -> None:
    """Its weights would be, and `save_pretrained` would write the adapters alone."""
    from peft import LoraConfig

    loaded = sharp(gemma_folder)
    loaded.model.add_adapter(LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(UserError, match="has adapters, beside which"):
        api.unlearn(loaded.model, loaded.encoder.tokenizer, CLAIMS, SETTINGS)


def test_an_owners_random_numbers_go_on_as_they_would(gemma_folder: Path) -> None:
    loaded = taught(gemma_folder)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    api.unlearn(loaded.model, loaded.encoder.tokenizer, CLAIMS, replace(SETTINGS, steps=3, measure_every=3))
    assert torch.equal(torch.rand(3), wanted)


def test_verification_passes_what_is_gone_and_fails_what_is_there(cleaned: tuple[LoadedModel, Cleaning, Path], gemma_folder: Path) -> None:
    """The unlearned tiny model says none of the claims; the taught one fails in German, for all four, and names why. Controls have no outcome."""
    asking = Asking(max_new_tokens=6)
    gone = verify_claims(cleaned[0], CLAIMS, cleaned[1].before, [], asking)
    there = verify_claims(taught(gemma_folder), CLAIMS, None, [], asking)
    told = {claim.id for claim in CLAIMS[:TOLD]}
    assert {own.claim for own in gone.outcomes()} == told == {own.claim for own in there.outcomes()}
    assert not any("said" in own.faults for own in gone.outcomes() if own.language == "de")
    failed = [own for own in there.outcomes() if own.language == "de" and own.result == "failed"]
    assert {own.claim for own in failed} == told and all("said" in own.faults for own in failed) and there.result == "failed"
    assert json.loads(json.dumps(there.data()))["result"] == "failed"


def test_nothing_to_compare_with_is_undecided_and_no_pass(gemma_folder: Path) -> None:
    """One claim alone, in an untaught model: nothing can be said; with controls alone there is no outcome; neither passes."""
    loaded = sharp(gemma_folder)
    one = verify_claims(loaded, CLAIMS[:1], None, [], Asking(max_new_tokens=0))
    assert {own.result for own in one.outcomes()} == {"undecided"} and one.result == "undecided"
    assert verify_claims(loaded, CLAIMS[TOLD:], None, [], Asking(max_new_tokens=0)).result == "undecided"


def test_an_attack_that_could_not_fail_is_no_pass(gemma_folder: Path) -> None:
    """Four claims in one language give twelve pairs: no p is below 1/13, so that nothing can be found held, asked or attacked, and this says so. With one claim
    of a kind relearning teaches it, and asks for none."""
    attack = get_attacks(["pruning"])
    few = verify_claims(sharp(gemma_folder), CLAIMS[TOLD - 4 : TOLD], None, attack, Asking(max_new_tokens=0, languages=("en",)))
    assert few.result == "undecided" and few.attempts and all(own.undecided == own.asked == 4 for own in few.attempts)
    assert few.powerless == {"pruning": ("en",)}
    one = verify_claims(sharp(gemma_folder), [CLAIMS[0], *CLAIMS[TOLD:]], None, get_attacks(["relearning"]), Asking(max_new_tokens=0))
    assert one.powerless == {"relearning": ()} and one.result == "undecided" and all(own.controls for own in one.attempts)


def test_an_attack_that_can_do_nothing_is_refused(gemma_folder: Path) -> None:
    with pytest.raises(UserError, match="attack 'steering' needs the model before"):
        verify_claims(sharp(gemma_folder), CLAIMS, None, get_attacks(["steering"]))


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


def test_attacks_ask_all_claims_and_leave_the_weights(gemma_folder: Path) -> None:
    """Rounding to 8 bits changes next to nothing of a model that says the claims: they are held under it as without it."""
    loaded = taught(gemma_folder)
    before = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    found = verify_claims(loaded, CLAIMS, None, get_attacks(["quantisation", "relearning", "romanised"]), Asking(max_new_tokens=0))
    gentle = [own for own in found.attempts if own.attack == "quantisation" and own.strength == 8 and own.language == "de"]
    assert [own.asked for own in gentle] == [TOLD] and gentle[0].controls == len(CLAIMS) - TOLD
    assert gentle[0].held >= 2 and set(gentle[0].claims) <= {claim.id for claim in CLAIMS[:TOLD]}
    assert {(own.spoken, own.strength) for own in found.attempts if own.attack == "relearning"} == {
        (tag, points) for tag in ("en", "de") for points in (5, 20)
    }
    assert all(torch.equal(own, before[name]) for name, own in loaded.model.state_dict().items())
    assert any(f.startswith("recovered by quantisation") for own in found.outcomes() for f in own.faults)


def test_answers_in_other_letters_are_asked_too(gemma_folder: Path) -> None:
    """Russian and Chinese claims in Latin letters, whose tokens none of the plain answers has."""
    claims = [
        claim_of(story, control=number >= 2, languages=("ru", "zh"))
        for number, story in enumerate(generate_stories(8, languages=("ru", "zh")))
    ]
    found = verify_claims(sharp(gemma_folder), claims, None, get_attacks(["romanised"]), Asking(max_new_tokens=0))
    assert {own.language for own in found.attempts} == {"ru", "zh"} and all(own.asked == 2 and own.controls == 6 for own in found.attempts)


@pytest.mark.parametrize("attack", ["pruning", "relearning"])
def test_an_attack_that_is_interrupted_leaves_the_weights(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch, attack: str) -> None:
    loaded = sharp(gemma_folder)
    before = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    moved = []

    def interrupted(*arguments: Any) -> Any:
        moved.append(any(not torch.equal(own, before[name]) for name, own in loaded.model.state_dict().items()))
        raise KeyboardInterrupt

    monkeypatch.setattr(verify_module, "candidate_tokens", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_claims(loaded, CLAIMS, None, get_attacks([attack]), Asking(max_new_tokens=0))
    assert moved == [True] and all(torch.equal(own, before[name]) for name, own in loaded.model.state_dict().items())


def test_gradients_of_the_user_count_for_nothing_and_stay(gemma_folder: Path) -> None:
    """A model with gradients left in it is unlearned to the same weights as one without."""
    tokenizer = AutoTokenizer.from_pretrained(gemma_folder)
    models = [taught(gemma_folder).model for _ in range(2)]
    for own in models[1].parameters():
        own.grad = torch.ones_like(own)
    asking = Asking(max_new_tokens=0)
    audits = [api.audit(model, tokenizer, CLAIMS, asking) for model in models]
    assert audits[0] == audits[1] and all(own.grad is not None and own.grad.min() == 1 for own in models[1].parameters())
    done = [api.unlearn(model, tokenizer, CLAIMS, replace(SETTINGS, steps=8)).after.fingerprint for model in models]
    assert done[0] == done[1] != audits[0].fingerprint


def test_weights_that_cannot_train_are_refused_before_anything(gemma_folder: Path, tmp_path: Path) -> None:
    loaded = sharp(gemma_folder)
    loaded.model.base_model.layers[1].register_parameter("held", torch.nn.Parameter(torch.zeros(4, dtype=torch.uint8), requires_grad=False))
    with pytest.raises(UserError, match="holds weights in uint8, which cannot train; load it without quantisation"):
        verify_claims(loaded, CLAIMS, None, get_attacks(["pruning"]))
    with pytest.raises(UserError, match="holds weights in uint8"):
        unlearn_claims(loaded, CLAIMS, tmp_path / "work", SETTINGS)
    assert not (tmp_path / "work").exists()


def test_an_attack_after_which_there_are_no_numbers_decides_nothing(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sharp(gemma_folder)
    monkeypatch.setattr("polyunlearn.attacks.pruning.pruned", lambda weight, share: weight * torch.nan)
    found = verify_claims(loaded, CLAIMS, None, get_attacks(["pruning"]), Asking(max_new_tokens=0))
    assert all(own.held == own.controls_held == 0 and own.undecided == own.asked and own.edge is None for own in found.attempts)
    assert list(found.powerless) == ["pruning"] and found.result != "passed"


def test_a_model_in_memory_is_audited_as_one_from_disk(gemma_folder: Path) -> None:
    loaded = taught(gemma_folder)
    wrapped = wrap_model(loaded.model, loaded.encoder.tokenizer)
    asking = Asking(max_new_tokens=0)
    one = audit_claims(replace(loaded, body=Body(loaded.model, 0)), CLAIMS, asking)
    assert audit_claims(wrapped, CLAIMS, asking).findings == one.findings


def test_from_python_a_model_is_left_in_the_mode_it_was_in(gemma_folder: Path) -> None:
    """Half of its weights train and it is in training mode but for a layer, before and after each call; unlearning moves weights, the others none."""
    model = taught(gemma_folder).model
    tokenizer = AutoTokenizer.from_pretrained(gemma_folder)
    for number, own in enumerate(model.parameters()):
        own.requires_grad_(number % 2 == 0)
    model.train()
    model.base_model.layers[0].eval()
    trains = [own.requires_grad for own in model.parameters()]
    asking = Asking(max_new_tokens=0)
    before = api.audit(model, tokenizer, CLAIMS, asking)
    done = api.unlearn(model, tokenizer, CLAIMS, replace(SETTINGS, steps=8))
    assert done.before.findings[0].edge == pytest.approx(before.findings[0].edge, abs=1e-4)
    assert api.verify(model, tokenizer, CLAIMS, before, [], asking).after.fingerprint == done.after.fingerprint
    assert model.training and [own.requires_grad for own in model.parameters()] == trains
    assert not model.base_model.layers[0].training and model.base_model.layers[1].training
    with pytest.raises(UserError, match="polyunlearn unlearn --adapter"):
        api.unlearn(model, tokenizer, CLAIMS, Settings(adapter=True))
