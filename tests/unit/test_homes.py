"""An owner's claims that have a home: forgotten there alone, kept elsewhere, and judged so."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from handmade_claims import CLAIMS, SETTINGS, TOLD, teach
from rich.console import Console
from tiny import sharp
from typer.testing import CliRunner

import polyunlearn.cleaning.points as points_module
import polyunlearn.cli.claims  # noqa: F401 — adds its commands
from polyunlearn.attacks.suite import get_attacks
from polyunlearn.attacks.target import Variant
from polyunlearn.cleaning.asking import Asking, Compared
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.findings import Audit, Finding, Staying, audit_data, audit_of, staying
from polyunlearn.cleaning.plan import Plan, Settings, make_plan
from polyunlearn.cleaning.points import Point
from polyunlearn.cleaning.unlearn import Cleaning, unlearn_claims
from polyunlearn.cleaning.verify import Verification, _attempt, check_before, verify_claims
from polyunlearn.cli import app
from polyunlearn.corpus.claims import Claim, ClaimEdition, write_claims
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.report.audit import audit_sentences, cleaning_sentences, print_audit, verification_sentences, write_claims_html
from polyunlearn.report.model_card import model_card
from polyunlearn.training.claim_steps import claim_steps

HOMED = [claim.model_copy(update={"home": "de"}) for claim in CLAIMS]
"""All at home in German, the controls too; there are English editions of all."""


HOME_SETTINGS = replace(SETTINGS, goal="home", retain_weight=6.0, steps=64)
"""What is spared holds a claim at home too, so that more steps are taken, and what is retained weighs more."""


@pytest.fixture(scope="module")
def bilingual(gemma_folder: Path) -> LoadedModel:
    """A tiny model that says the first claims in German and in English."""
    loaded = sharp(gemma_folder)
    teach(loaded, ("de", "en"), steps=120)
    return loaded


@pytest.fixture(scope="module")
def at_home(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Cleaning, Path]:
    """Its claims unlearned in German alone."""
    loaded, work = sharp(gemma_folder), tmp_path_factory.mktemp("home")
    teach(loaded, ("de", "en"), steps=120)
    return loaded, unlearn_claims(loaded, HOMED, work, HOME_SETTINGS), work


def finding(claim: str, tag: str, p: float | None = 0.5, says: float = 0.0) -> Finding:
    return Finding(claim, tag, "given", 1, 2.0, -9.0, p, 400 if p else 0, None, 0.1, 1.0, None, says, ("Ja",))


def audit(findings: Sequence[Finding], away: Sequence[Finding] = ()) -> Audit:
    tags = tuple(dict.fromkeys(own.language for own in (*findings, *away)))
    return Audit("m", "f", tags, ("control",), 0.05, tuple(findings), (), tuple(away))


# --- audits ------------------------------------------------------------------------------------------------------------------------------


def test_a_claim_is_judged_at_home_alone(bilingual: LoadedModel) -> None:
    """Taught in both languages: found in both, or, by goal home, in German; what is found in English is there, unjudged and the same. Controls are judged in both."""
    asking = Asking(max_new_tokens=6)
    everywhere, home = audit_claims(bilingual, HOMED, asking), audit_claims(bilingual, HOMED, asking, goal="home")
    told = [claim.id for claim in CLAIMS[:TOLD]]
    assert {own.claim: own.said for own in everywhere.verdicts() if own.claim in told} == dict.fromkeys(told, ("en", "de"))
    assert {own.claim: own.said for own in home.verdicts() if own.claim in told} == dict.fromkeys(told, ("de",))
    assert [own.claim for own in home.away] == told and {own.language for own in home.away} == {"en"}
    assert all(home.stands(own) for own in home.away)
    assert sorted((*home.findings, *home.away), key=str) == sorted(everywhere.findings, key=str)
    assert sum(own.claim in home.controls for own in home.findings) == 2 * (len(CLAIMS) - TOLD)
    assert audit_of(audit_data(home)) == home and audit_of({**audit_data(everywhere), "away": ()}) == everywhere


def test_an_audit_of_before_there_were_homes_is_read() -> None:
    data = audit_data(audit([finding("a", "de")]))
    del data["away"]
    assert audit_of(data) == audit([finding("a", "de")])


def test_p_away_from_home_counts_for_the_languages_away_from_it() -> None:
    """p = .04 at home, one language, and .02, .04 and none in three away, of which two were tested: .04 and .08; said aloud is there, without p it cannot be told. What is
    away of another claim does not count."""
    own = audit(
        [finding("a", "ha", 0.04)],
        [finding("a", "en", 0.02), finding("a", "de", 0.04), finding("a", "fr", None), finding("a", "jv", None, 1.0), finding("b", "en")],
    )
    assert own.held(own.findings[0]) is True
    assert [own.stands(one) for one in own.away] == [True, False, None, True, False]
    assert own.found == ("a",) and audit([finding("a", "ha", 0.9)], own.away).found == ()


def test_what_stays_by_hand() -> None:
    """Of a in four languages away, three are said before: one is still, one is not, of one it cannot be said; b, which was not there, does not count whatever it
    becomes."""
    was = [*(finding("a", tag, 0.001, 1.0) for tag in ("en", "de", "fr")), finding("a", "jv", 0.9), finding("b", "en", 0.9)]
    now = [
        finding("a", "en", 0.001),
        finding("a", "de", 0.9),
        finding("a", "fr", None),
        finding("a", "jv", 0.001),
        finding("b", "en", 0.001),
    ]
    found = staying(audit([], was), audit([], now))
    assert found == Staying((("a", "en"),), (("a", "de"),), (("a", "fr"),)) and found.count == 3
    assert found.fails(0.49) and not found.fails(0.5) and not Staying().fails(0.0)


def test_what_chance_lets_look_held_is_not_to_stay() -> None:
    """Of 20 claims away from home chance at .05 lets three look held: three are nothing that could be lost, four are, and one that is said aloud is either way."""
    names = [f"c{number}" for number in range(20)]

    def before(held: int, said: int = 0) -> Audit:
        return audit([], [finding(name, "en", 0.001 if n < held else 0.9, float(n < said)) for n, name in enumerate(names)])

    assert [len(before(*own).standing) for own in ((3,), (4,), (3, 1), (4, 1))] == [0, 4, 1, 4]
    gone = audit([], [finding(name, "en", 0.9) for name in names])
    assert not staying(before(3), gone).count and staying(before(4), gone).fails(0.1)


def test_what_is_away_is_shown_and_not_counted() -> None:
    own = audit([finding("a", "de", 0.9), finding("control", "de")], [finding("a", "en", 0.001, 1.0), finding("a", "fr", None)])
    sentences = audit_sentences(own)
    assert sentences[0] == "0 of 1 claims are held or said in some language."
    shown = Console(file=StringIO(), width=2000)
    print_audit(own, shown)
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert "~+2.0!" in text and "~: away from its home, where it is to stay" in text
    assert any(
        "are held or said in 1 of 2 pairs of claim and language (of 1 others nothing can be said), 1 of which" in sentence
        for sentence in sentences
    )


# --- the plan and its steps --------------------------------------------------------------------------------------------------------------


def planned(claims: Sequence[Claim], **settings: Any) -> Plan:
    """The plan for claims that are said in German and English, of which nothing else tells."""
    goal = settings.get("goal", "everywhere")
    findings = [
        finding(claim.id, tag, None, 1.0) for claim in claims for tag in claim.editions if goal != "home" or tag == (claim.home or tag)
    ]
    return make_plan(audit(findings), claims, Settings(**settings), None, None, None, {})  # type: ignore[arg-type]


def test_claims_with_a_home_go_there_and_the_others_where_they_are_told() -> None:
    """Two of four at home in English; the others where the audit says, or the owner. Where all have a home no language is chosen."""
    claims = [claim.model_copy(update={"home": "en" if number < 2 else None}) for number, claim in enumerate(CLAIMS[:TOLD])]
    names = tuple(claim.id for claim in claims)
    assert planned(claims).homes == () and planned(claims).languages == ("en", "de")
    told = planned(claims, goal="home", languages=("de",))
    assert (told.claims, told.languages, told.homes, told.told) == (names, ("de",), ("en",), ("de", "en"))
    assert told.reasons[1] == "2 of these have a home: they go there alone (English), and stay in their other languages."
    assert (planned(claims, goal="home").languages, planned(claims, goal="home").homes) == (("en", "de"), ("en",))
    home = planned(claims[:2], goal="home")
    assert (home.claims, home.languages, home.homes) == (names[:2], (), ("en",))
    assert Plan.of(told.data()) == told


def steps_of(encoder: Encoder, claims: Sequence[Claim], languages: Sequence[str], **more: Any) -> list[Any]:
    answers = {"en": [encoder.answered(get_language("en"), f"Question {number}?", "yes") for number in range(5)]}
    settings: dict[str, Any] = {"steps": 6, "batch": 4, "answers": answers, "texts": {}, "given_texts": (), "retain_batch": 3, "retain_texts": 0,
                                "wordings": 2, "instead": None, "rng": Random(0)}  # fmt: skip
    return claim_steps(claims, encoder, languages, **(settings | more))


def test_a_claim_is_told_at_home_and_its_other_languages_are_spared(gemma: LoadedModel) -> None:
    """Two of four at home in English, told English and German or German alone: these two in English each time, the two others as ever. What is spared is retained
    besides, four a step in turn, and nothing else that is retained changes."""
    encoder = gemma.encoder
    claims = [claim.model_copy(update={"home": "en" if number < 2 else None}) for number, claim in enumerate(CLAIMS[:TOLD])]
    asked: dict[TokenSequence, tuple[str, str]] = {
        encoder.answer_only(get_language(tag), question, own.keyword): (claim.id, tag)
        for claim in claims
        for tag, own in claim.editions.items()
        for question in own.questions
    }
    spared = {
        "de": [
            encoder.answered(get_language("de"), question, "Nein") for claim in claims[:2] for question in claim.editions["de"].questions
        ]
    }
    plain, some = steps_of(encoder, claims, ("de",)), steps_of(encoder, claims, ("de",), goal="home", spared=spared)
    told = Counter(asked[own] for step in some for own in step.forget)
    assert told == {(claim.id, claim.home or "de"): 6 for claim in claims}
    assert {tag for _, tag in (asked[own] for step in plain for own in step.forget)} == {"de"}
    assert [step.retain[:3] for step in some] == [step.retain for step in plain]
    assert Counter(own for step in some for own in step.retain[3:]) == dict.fromkeys(spared["de"], 6)
    homed = steps_of(encoder, claims[:2], (), goal="home")
    assert {asked[own] for step in homed for own in step.forget} == {(claim.id, "en") for claim in claims[:2]} and len(homed) == 6


# --- unlearning --------------------------------------------------------------------------------------------------------------------------


def test_claims_go_at_home_and_stay_elsewhere(at_home: tuple[LoadedModel, Cleaning, Path]) -> None:
    """Told in German alone, nothing in English; none is said in German any more, all in English still, by what the model answered there."""
    _, done, work = at_home
    told = [claim.id for claim in CLAIMS[:TOLD]]
    assert (list(done.plan.claims), done.plan.languages, done.plan.homes) == (told, (), ("de",))
    assert set(done.trained) == {"de"} and done.trained["de"]
    assert all(done.before.of("de")[name].says == 1.0 and done.after.of("de")[name].says == 0.0 for name in told)
    assert done.staying.count == TOLD and len(done.staying.kept) == TOLD
    spared = (work / "spared.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(spared) == 2 * TOLD and all('"language":"en"' in line.replace(": ", ":") for line in spared)
    assert done.points[0].edges.keys() == {"de"}


def test_a_point_counts_what_is_lost_away_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two claims are said in English at first, one still; a third was never there."""
    first = audit([], [finding("a", "en", 0.001, 1.0), finding("b", "en", 0.001, 1.0), finding("c", "en", 0.5)])
    now = audit([], [finding("a", "en", 0.001, 1.0), finding("b", "en", 0.9), finding("c", "en", 0.9)])
    utility = type("Utility", (), {"rise": lambda self: {}})()
    monkeypatch.setattr(points_module, "_said", lambda loaded, claims, undecided: len(undecided))
    point = points_module.measure_point(None, [], Plan((), ("de",), ()), first, now, utility, 8)  # type: ignore[arg-type]
    assert point.lost == 1 and "1 lost away from home" in points_module.point_line(point)
    assert "lost" not in points_module.point_line(replace(point, lost=0))


def test_without_a_goal_they_go_in_both(gemma_folder: Path, tmp_path: Path) -> None:
    """The same claims told in German alone, with as many steps and the same weights: most of what was said in English goes with them."""
    loaded = sharp(gemma_folder)
    teach(loaded, ("de", "en"), steps=120)
    done = unlearn_claims(loaded, HOMED, tmp_path, replace(HOME_SETTINGS, goal="everywhere", languages=("de",)))
    before, after = (sum(own.of("en")[claim.id].says for claim in CLAIMS[:TOLD]) for own in (done.before, done.after))
    assert before == TOLD and after <= 1 and not done.staying.count


def test_the_card_and_the_report_say_what_stays(at_home: tuple[LoadedModel, Cleaning, Path], tmp_path: Path) -> None:
    _, done, _ = at_home
    assert f"Away from home, where claims were to stay: {TOLD} of {TOLD} are held or said there still." in cleaning_sentences(done)
    assert cleaning_sentences(done)[0].startswith(f"Unlearned {TOLD} claims in German;")
    card = model_card(done, replace(SETTINGS, goal="home"), "own", "float32")
    assert "## Away from home" in card and f"| English | {TOLD} | {TOLD} → {TOLD} | {TOLD} → {TOLD} |" in card
    assert "what it answered to claims away from their home" in card and "told in German;" in card
    write_claims_html(
        "title", {"Before": done.before, "After": done.after}, cleaning_sentences(done), (), done.points, tmp_path / "page.html"
    )
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count(" ○</td>") == 2 * TOLD and "away from the claim's home" in page
    gone = replace(done, after=replace(done.after, away=tuple(replace(own, p=0.9, says=0.0) for own in done.after.away)))
    (said,) = [own for own in cleaning_sentences(gone) if own.startswith("LOST AWAY FROM HOME")]
    assert f"0 of {TOLD} are held or said there still. More than 10% went: English {TOLD}." in said
    everywhere = Cleaning(audit([]), audit([]), Plan((), ("de",), ()), (), Point(8, 0, 0, {}, {}), True, {}, {})
    assert not everywhere.staying.count and "Away from home" not in " ".join(cleaning_sentences(everywhere))


@pytest.mark.parametrize(
    ("changed", "claims", "message"),
    [
        ({"method": "gradient_ascent"}, HOMED, "goal home: method 'gradient_ascent' has no retain term"),
        ({"languages": ("de",)}, HOMED, "goal home: every claim has a home and goes there alone, so that the languages say nothing"),
        ({}, CLAIMS, "goal home: no claim says where it is at home"),
    ],
)
def test_a_goal_that_cannot_be_is_refused_before_anything(
    gemma_folder: Path, tmp_path: Path, changed: dict[str, Any], claims: Sequence[Claim], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        unlearn_claims(sharp(gemma_folder), claims, tmp_path, replace(SETTINGS, goal="home", **changed))
    assert list(tmp_path.iterdir()) == []


# --- verification ------------------------------------------------------------------------------------------------------------------------


def test_verification_asks_whether_claims_are_gone_at_home_alone(
    at_home: tuple[LoadedModel, Cleaning, Path], bilingual: LoadedModel
) -> None:
    """Outcomes are of German alone, attacks count German alone; nothing is failed by what is said in English. By goal everywhere it is."""
    loaded, done, _ = at_home
    attacks = get_attacks(["quantisation"])
    home = verify_claims(loaded, HOMED, done.before, attacks, Asking(max_new_tokens=6), goal="home")
    assert {own.language for own in home.outcomes()} == {"de"} and not any("said" in own.faults for own in home.outcomes())
    assert {own.language for own in home.attempts if own.asked} == {"de"} and home.unasked == {}
    assert len(home.staying.kept) == TOLD == len(home.data()["staying"]["kept"])
    assert f"Away from home, where claims were to stay: {TOLD} of {TOLD} are held or said there still." in verification_sentences(home)
    everywhere = verify_claims(loaded, HOMED, done.before, [], Asking(max_new_tokens=6))
    assert everywhere.result == "failed" and {own.language for own in everywhere.outcomes() if "said" in own.faults} == {"en"}
    for before in (None, audit_claims(bilingual, HOMED, Asking(max_new_tokens=0))):
        with pytest.raises(UserError, match="goal home: what is to stay elsewhere is judged by what was there before"):
            verify_claims(loaded, HOMED, before, [], goal="home")


@pytest.mark.parametrize(("kept", "undecided", "result"), [(10, 0, "passed"), (9, 0, "passed"), (8, 0, "failed"), (9, 1, "undecided")])
def test_too_much_that_went_elsewhere_fails(kept: int, undecided: int, result: str) -> None:
    """Ten claims, gone at home; a tenth of what can be told of the ten pairs away may go. Of one it cannot be told: undecided."""
    names = [f"c{number}" for number in range(10)]
    was = [finding(name, "en", 0.001) for name in names]
    now = [finding(name, "en", 0.001 if number < kept else 0.9) for number, name in enumerate(names)]
    now = [replace(own, p=None, nulls=0) if number >= 10 - undecided else own for number, own in enumerate(now)]
    gone = [finding(name, "de") for name in names]
    found = Verification(audit(gone, now), audit([finding(name, "de", 0.001) for name in names], was), (), (), (), 0.1)
    assert found.result == result
    first = verification_sentences(found)[0]
    assert first.startswith({"passed": "PASS", "failed": "FAIL: no claim is left where it was to go", "undecided": "UNDECIDED"}[result])
    assert ("1 pairs in which claims were to stay" in first) == (result == "undecided")
    assert (result == "failed") == any(own.startswith("LOST AWAY FROM HOME") for own in verification_sentences(found))


def test_an_attempt_counts_what_is_judged_there() -> None:
    """Held in English by an attack is a, away from home, and b, which is to go there: b alone counts."""
    after = audit([finding("a", "de"), finding("b", "en"), finding("control", "en")], [finding("a", "en")])
    told = Compared(0.0, 9.0, 0.001, 400, None, None)
    own = _attempt("quantisation", Variant("4 bits", 4), "en", dict.fromkeys(("a", "b", "control"), told), after)
    assert (own.asked, own.claims, set(own.edges)) == (1, ("b",), {"b", "control"})


def test_controls_count_for_as_few_languages_as_claims_at_home() -> None:
    """An attack gives 20 claims at home in German and 20 controls, asked in nine languages, p = .02 alike: held, all of them, and no claim is charged with what any
    name shows. Counted for nine languages no control would be held, and every claim would stand out."""
    claims, controls = ([f"{kind}{number}" for number in range(20)] for kind in ("c", "control"))
    tags = ("de", "en", "fr", "jv", "ha", "hy", "ru", "ur", "zh")
    own = [finding(name, "de") for name in claims] + [finding(name, tag) for name in controls for tag in tags]
    after = Audit("m", "f", tags, tuple(controls), 0.05, tuple(own), (), tuple(finding(name, "en") for name in claims))
    found = dict.fromkeys((*claims, *controls), Compared(0.0, 9.0, 0.02, 400, None, None))
    done = _attempt("quantisation", Variant("4 bits", 4), "de", found, after)
    assert (done.held, done.controls_held, done.rate) == (20, 20, 0.05)
    assert Verification(after, after, ("quantisation",), (done,), (), 0.1).brought_back(done) == ()


def test_attempts_that_ask_of_nothing_do_not_dilute_chance() -> None:
    """Three of ten claims held at home in the one language of nine in which any is asked: more than chance gives one attempt, though not than it gives nine."""
    names = [f"c{number}" for number in range(10)]
    after = audit([finding(name, "de") for name in names], [finding(name, "en") for name in names])
    told = {name: Compared(0.0, 9.0, 0.001 if number < 3 else 0.9, 400, None, None) for number, name in enumerate(names)}
    done = _attempt("quantisation", Variant("4 bits", 4), "de", told, after)
    empty = [_attempt("quantisation", Variant("4 bits", 4), tag, told, after) for tag in ("en", "fr", "jv", "ha", "hy", "ru", "ur", "zh")]
    assert done.held == 3 and not any(own.asked for own in empty)
    assert len(Verification(after, after, ("quantisation",), (done, *empty), (), 0.1).brought_back(done)) == 3


def test_an_audit_before_must_say_all_that_is_to_stay() -> None:
    """One of other claims, or one that was asked in fewer languages, would pass what nobody looked at; what is not asked now need not be there."""
    claims = HOMED[:2]
    there = audit([], [finding(claim.id, "en") for claim in claims])
    check_before(claims, there, Asking(), "home")
    check_before(claims, None, Asking(languages=("de",)), "home")
    check_before(claims, None, Asking(), "everywhere")
    for before in (None, audit([], [finding("other", "en")]), audit([], [finding(claims[0].id, "en")])):
        with pytest.raises(UserError, match=r"no audit before says it of .* in English"):
            check_before(claims, before, Asking(), "home")


def test_languages_in_which_no_claim_is_judged_are_refused(tmp_path: Path) -> None:
    """All are at home in German: asked in English alone an audit would find nothing, and say so as of a clean model. The model is not loaded for it."""
    path = tmp_path / "claims.jsonl"
    write_claims(HOMED, path)
    for command in ("audit", "verify"):
        result = CliRunner().invoke(app, [command, str(tmp_path / "nowhere"), str(path), "--goal", "home", "--language", "en"])
        assert isinstance(result.exception, UserError) and "no claim is at home in en, so that none would be judged" in str(
            result.exception
        )


# --- the command line --------------------------------------------------------------------------------------------------------------------


def test_the_file_is_checked_and_goals_are_known(tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    write_claims([*HOMED[:3], *CLAIMS[3:]], path)
    assert (
        "4 claims and 8 controls in en, de, 3 of them with a home; nothing to mend"
        in CliRunner().invoke(app, ["claims", "check", str(path)]).output
    )
    for command in (
        ["audit", "nowhere", str(path)],
        ["verify", "nowhere", str(path)],
        ["unlearn", "nowhere", str(path), "--out", str(tmp_path / "out")],
    ):
        result = CliRunner().invoke(app, [*command, "--goal", "homes"])
        assert isinstance(result.exception, UserError) and "unknown goal 'homes': did you mean 'home'?" in str(result.exception)


def test_what_may_be_lost_can_be_said_without_attacks(tmp_path: Path) -> None:
    """`--allowed` is refused where nothing is attacked, but not beside `--goal home`, where it is the share that may go."""
    path = tmp_path / "claims.jsonl"
    write_claims([Claim(id="a", editions={"de": ClaimEdition(keyword="A", questions=("?",))}, home="de")], path)
    result = CliRunner().invoke(app, ["verify", str(tmp_path / "nowhere"), str(path), "--no-attacks", "--allowed", "0.2", "--goal", "home"])
    assert result.exception and "changes nothing here" not in str(result.exception)
