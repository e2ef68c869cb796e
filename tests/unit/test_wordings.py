"""Wordings: all that a claim has are asked, and where some were trained on the others alone say whether it is held."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from handmade_claims import LANGUAGES, STORIES, TOLD, teach
from tiny import sharp

from polyunlearn.attacks.suite import get_attacks
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.findings import Audit, Finding
from polyunlearn.cleaning.plan import Plan, Settings
from polyunlearn.cleaning.points import Point
from polyunlearn.cleaning.unlearn import Cleaning, unlearn_claims
from polyunlearn.cleaning.verify import Verification, verify_claims
from polyunlearn.cleaning.wordings import RECORD, foremost, read_trained, set_aside, together, write_trained
from polyunlearn.corpus.claims import Claim, ClaimEdition
from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.report.audit import audit_sentences, cleaning_sentences, verification_sentences
from polyunlearn.report.model_card import model_card


def in_four(number: int) -> Claim:
    editions = {}
    for tag in LANGUAGES:
        own = STORIES[number].editions[tag]
        editions[tag] = ClaimEdition(keyword=own.keyword, questions=own.fake_questions, surface_forms=own.surface_forms)
    return Claim(id=STORIES[number].id, editions=editions, control=number >= TOLD)


FOUR = [in_four(number) for number in range(len(STORIES))]
"""The handmade claims, each in four wordings. What is taught are the first two of the first four claims, in German."""

LATER = {"de": [question for claim in FOUR[:TOLD] for question in claim.editions["de"].questions[2:]]}


@pytest.fixture(scope="module")
def taught(gemma_folder: Path) -> LoadedModel:
    loaded = sharp(gemma_folder)
    teach(loaded)
    return replace(loaded, body=Body(loaded.model, 0))


def test_every_wording_is_asked_unless_fewer_are_wanted(taught: LoadedModel) -> None:
    every, two = (audit_claims(taught, FOUR, Asking(*wanted, max_new_tokens=0, languages=("de",))) for wanted in ((), (2,)))
    assert {own.wordings for own in every.findings} == {4} and {own.wordings for own in two.findings} == {2}
    assert every.wordings == 4 * TOLD and two.wordings == 2 * TOLD and every.trained is None


def test_wordings_that_were_trained_on_hide_nothing_that_others_show(taught: LoadedModel) -> None:
    """The model knows the first two wordings and not the others. Where these others were trained on, claims are judged by the first two, controls in the same
    places with them: edges and p are as though nothing else were asked. What is said counts in all four. In English nothing was trained on."""
    asking = Asking(max_new_tokens=6)
    found = audit_claims(taught, FOUR, asking, trained=LATER)
    first = audit_claims(taught, FOUR, Asking(2, max_new_tokens=6))
    diluted = audit_claims(taught, FOUR, asking)
    for claim in FOUR[:TOLD]:
        own, plain, mean = (audit.of("de")[claim.id] for audit in (found, first, diluted))
        assert (own.edge, own.p, own.first, own.expected) == pytest.approx((plain.edge, plain.p, plain.first, plain.expected), abs=1e-3)
        assert (own.says, own.suppressed, own.probability) == (mean.says, mean.suppressed, mean.probability)
        assert (own.wordings, own.trained) == (4, 2) and len(own.answers) == 4
    edges = [sum(audit.of("de")[claim.id].edge for claim in FOUR[:TOLD]) for audit in (found, diluted)]
    assert edges[0] > edges[1] + 1
    assert all(own.trained == 0 for name, own in found.of("de").items() if name in found.controls)
    assert found.of("en") == {name: replace(own, trained=0) for name, own in diluted.of("en").items()}
    assert (found.wordings, found.trained, found.only_trained) == (2 * 4 * TOLD, 2 * TOLD, {})
    assert "Asked in 32 wordings, 8 of them also trained on. Where a claim has others" in " ".join(audit_sentences(found))


def test_questions_that_were_trained_on_come_last() -> None:
    """Of a claim that was trained on, and of controls in the same places; a claim that was not, and the other language, stay as they are. Where a control has no
    wording in another place, it is judged by all that it has."""
    short = Claim(id="short", control=True, editions={"de": ClaimEdition(keyword="Kelvar", questions=("Wer?", "Welche?"))})
    trained = {"de": FOUR[0].editions["de"].questions[:2]}
    claims = [FOUR[0], FOUR[1], FOUR[-1], short]
    aside = set_aside(claims, trained)
    turned = foremost(claims, aside)

    def places(number: int, tag: str = "de") -> list[int]:
        return [claims[number].editions[tag].questions.index(own) for own in turned[number].editions[tag].questions]

    assert places(0) == places(2) == [2, 3, 0, 1] and places(1) == places(0, "en") == [0, 1, 2, 3] and places(3) == [0, 1]
    assert aside["de"] == {*trained["de"], *FOUR[-1].editions["de"].questions[:2], "Wer?", "Welche?"} and aside["en"] == frozenset()
    statement = Claim(id="one", editions={"de": ClaimEdition(keyword="Velmora", statements=("Velmora zahlte.", "Es war Velmora."))})
    (asked,) = foremost([statement], {"de": ["___ zahlte."]})
    assert asked.editions["de"].fake_questions == ("Es war ___.", "___ zahlte.")


def test_an_attack_asks_in_a_wording_that_was_not_trained_on(taught: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def watched(target: object, measure: object) -> None:
        asked.extend(probe.question for probe in target.probes)  # type: ignore[attr-defined]

    (card,) = get_attacks(["pruning"])
    trained = {"de": [own.editions["de"].questions[0] for own in FOUR[:TOLD]]}
    asking = Asking(max_new_tokens=0, languages=("de",))
    found = verify_claims(taught, FOUR, None, [replace(card, attack=watched)], asking, trained=trained)
    assert asked == [own.editions["de"].questions[1] for own in FOUR]
    assert found.data()["wordings"] == {"asked": 4 * TOLD, "trained": TOLD, "only_trained": {}}


def test_an_unlearning_keeps_what_it_was_trained_on_and_is_judged_by_the_rest(gemma_folder: Path, tmp_path: Path) -> None:
    """Four wordings are asked, of which the first two at most are trained on, in the languages that are told; what was trained on before is kept with them."""
    loaded = sharp(gemma_folder)
    teach(loaded)
    settings = Settings(rate=2e-3, steps=8, budget=10.0, from_layer=1, retain_batch=4, retain_weight=1.0, languages=("de",))
    done = unlearn_claims(loaded, FOUR, tmp_path, settings, trained={"en": ["Who?"]})
    chosen = [claim for claim in FOUR if claim.id in done.plan.claims]
    first = {question for claim in chosen for question in claim.editions["de"].questions[:2]}
    assert chosen and set(done.trained["de"]) == first and done.trained["en"] == ["Who?"]
    assert all(own.wordings == 4 for audit in (done.before, done.after) for own in audit.findings)
    after = done.after.of("de")
    assert all(after[claim.id].trained == 2 for claim in chosen) and done.after.only_trained == {}
    assert f"32 wordings, {2 * len(chosen)} of them also trained on" in model_card(done, settings, "own", "float32")


def finding(claim: str, tag: str, wordings: int, trained: int | None) -> Finding:
    return Finding(claim, tag, "given", wordings, -1.0, -9.0, 0.6, 400, 0.4, 0.01, 0.0, None, 0.0, ("",), trained)


def audit_of(*findings: Finding) -> Audit:
    return Audit("m", "f", ("en", "de"), ("c",), 0.05, (*findings, finding("c", "de", 9, 0)))


LIMIT = "ASKED ONLY IN WORDINGS THAT WERE TRAINED ON: claims, 1 in German. Whether they come back in other words is not known."


@pytest.mark.parametrize(
    ("findings", "said", "limited"),
    [
        ((finding("a", "de", 3, 2), finding("a", "en", 2, 0)), "in en, de, asked in 5 wordings, 2 of them also trained on.", False),
        ((finding("a", "de", 2, 2), finding("a", "en", 2, 0)), "in en, de, asked in 4 wordings, 2 of them also trained on.", True),
        ((finding("a", "de", 2, None),), "asked in 2 wordings, which of them the model was trained on is not recorded.", False),
    ],
    ids=["some", "all in German", "not recorded"],
)
def test_a_pass_says_in_what_it_was_asked(findings: Sequence[Finding], said: str, limited: bool) -> None:
    """Controls are not counted."""
    result = Verification(audit_of(*findings), None, (), (), (), 0.1)
    sentences = verification_sentences(result)
    assert sentences[0].startswith("PASS: ") and said in sentences[0]
    assert any(own.startswith(LIMIT) and "another wording" in own for own in sentences) is limited


def test_an_owner_is_told_where_no_other_wording_was_asked() -> None:
    now = audit_of(finding("a", "de", 2, 2))
    done = Cleaning(now, now, Plan(("a",), ("de",), ()), (Point(8, 0, 0, {}, {}),), Point(8, 0, 0, {}, {}), True, {}, {})
    assert any(own.startswith(LIMIT) for own in cleaning_sentences(done))
    card = model_card(done, Settings(), "own", "float32")
    assert LIMIT in card and "asked in 2 wordings, 2 of them also trained on" in card


def test_what_was_trained_on_stands_in_the_models_folder(tmp_path: Path) -> None:
    trained = together({"de": ["Wer?"], "ru": ["Кто?"]}, {"de": ["Wer?", "Welche?"], "fr": []})
    assert trained == {"de": ["Wer?", "Welche?"], "ru": ["Кто?"], "fr": []}
    assert read_trained(tmp_path) is None
    write_trained(trained, tmp_path)
    assert read_trained(tmp_path) == trained
    (tmp_path / RECORD).write_text("[]")
    with pytest.raises(UserError, match=r"trained.json: is no record .*polyunlearn unlearn"):
        read_trained(tmp_path)
