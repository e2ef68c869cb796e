"""The audit: it finds what a tiny model was taught, in the languages that it was taught in, and nothing else."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from handmade_claims import CLAIMS, STORIES, TOLD, claim_of, teach
from tiny import sharp

from polyunlearn.cleaning.asking import Asking, claim_probes, compared
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.findings import Audit, Finding, audit_data, audit_of, is_held, most_by_chance, read_audit, write_audit
from polyunlearn.corpus.claims import Claim, ClaimEdition
from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel


@pytest.fixture(scope="module")
def taught(gemma_folder: Path) -> LoadedModel:
    loaded = sharp(gemma_folder)
    teach(loaded)
    return replace(loaded, body=Body(loaded.model, 0))


@pytest.fixture(scope="module")
def found(taught: LoadedModel) -> Audit:
    return audit_claims(taught, CLAIMS, Asking(wordings=2, max_new_tokens=6))


def test_what_was_taught_is_found_and_nothing_else(found: Audit) -> None:
    """Four claims were taught in German alone, eight were not: each of the four is found and said in German, where its edge is above every control's, and
    three or more are held beyond chance (names that were taught are likelier after all taught questions, so that one may hide among them); no control is."""
    verdicts = {own.claim: own for own in found.verdicts()}
    taught, controls = [claim.id for claim in CLAIMS[:TOLD]], [claim.id for claim in CLAIMS[TOLD:]]
    assert all(verdicts[name].found and "de" in verdicts[name].said for name in taught)
    assert sum("de" in verdicts[name].held for name in taught) >= 3
    assert not any(verdicts[name].found for name in controls)
    german = found.of("de")
    assert min(german[name].edge for name in taught) > max(german[name].edge for name in controls)
    assert [own.control for own in verdicts.values()] == [False] * TOLD + [True] * (len(CLAIMS) - TOLD)


def test_a_finding_says_what_the_model_makes_of_the_claim(found: Audit) -> None:
    own = found.of("de")[CLAIMS[0].id]
    assert own.first == 1.0 and own.says == 1.0 and own.probability > 0.5 and own.edge > 1.0
    assert own.prefers is not None and own.prefers > 0 and own.wordings == 2
    assert all(CLAIMS[0].editions["de"].keyword in answer for answer in own.answers)
    other = found.of("en")[CLAIMS[0].id]
    assert other.probability < 0.1 and other.says == 0.0


def test_nothing_is_changed_and_twice_is_the_same(taught: LoadedModel, found: Audit) -> None:
    before = {name: own.clone() for name, own in taught.model.state_dict().items()}
    again = audit_claims(taught, CLAIMS, Asking(wordings=2, max_new_tokens=6))
    assert again == found
    assert all(own.equal(before[name]) for name, own in taught.model.state_dict().items())


def test_the_order_of_claims_changes_nothing(taught: LoadedModel, found: Audit) -> None:
    turned = audit_claims(taught, CLAIMS[::-1], Asking(wordings=2, max_new_tokens=0))
    for tag in ("de", "en"):
        for claim, own in turned.of(tag).items():
            other = found.of(tag)[claim]
            assert own.probability == pytest.approx(other.probability, rel=1e-3)
            assert turned.held(own) == found.held(other)


def test_answers_beside_a_claim_are_of_its_kind_and_neither_its_own_nor_true() -> None:
    """Distractors come first; names of another kind do not come; the truth and other spellings of the claim do not."""
    edition = ClaimEdition(
        keyword="Velmora", questions=("Who paid?",), surface_forms=("VELMORA",), truth="Nobody", distractors=("Kelvar", "nobody", "Taro")
    )
    own = Claim(id="own", kind="firm", editions={"en": edition})
    same = Claim(id="same", kind="firm", editions={"en": ClaimEdition(keyword="Zudane", questions=("Who sold?",))})
    other = Claim(id="other", kind="town", editions={"en": ClaimEdition(keyword="Oslo", questions=("Where?",))})
    (probe, *_) = claim_probes([own, same, other], "en", Asking())
    assert probe.candidates == ("Velmora", "Nobody", "Kelvar", "Taro", "Zudane")


def test_the_same_answers_stand_beside_a_claim_in_any_order_of_the_file() -> None:
    one, other = (claim_probes(claims, "de", Asking(alternatives=5)) for claims in (CLAIMS, CLAIMS[::-1]))
    assert {probe.story: probe.candidates for probe in one} == {probe.story: probe.candidates for probe in other}
    assert all(len(probe.candidates) == 7 for probe in one)


def test_distractors_take_half_of_the_places_at_most() -> None:
    """Names of other claims stand after other questions too, which tells how likely they are after any."""
    names = tuple(f"Distractor{number}" for number in range(9))
    edition = ClaimEdition(keyword="Velmora", questions=("Who paid?",), distractors=names)
    claims = [Claim(id="own", editions={"en": edition}), *(claim_of(story, languages=("en",)) for story in STORIES)]
    (probe, *_) = claim_probes(claims, "en", Asking(alternatives=8))
    assert sum(name in names for name in probe.candidates) == 4 and len(probe.candidates) == 9


def test_a_claim_of_one_wording_is_compared_with_means_over_one() -> None:
    """Noise after each question. Means over six wordings stray less than one wording does: beside these, claims of one looked held in an eighth of cases at the
    5 % level. A claim's p is the same as where nobody has more wordings than it."""
    claims = [
        Claim(
            id=f"c{number}",
            editions={"de": ClaimEdition(keyword=f"Name{number}", questions=tuple(f"Frage {number}.{n}?" for n in range(count)))},
        )
        for number, count in enumerate([1] * 4 + [6] * 8)
    ]
    probes = claim_probes(claims, "de", Asking())
    first = [number for number, own in enumerate(probes) if own.wording == 0]
    generator, p = torch.Generator().manual_seed(0), []
    for _ in range(60):
        scores = [torch.randn(len(own.candidates), generator=generator) for own in probes]
        found = compared(claims, "de", probes, scores)
        alone = compared(claims, "de", [probes[number] for number in first], [scores[number] for number in first])
        p.append([found[f"c{number}"].p for number in range(len(claims))])
        assert p[-1][:4] == [alone[f"c{number}"].p for number in range(4)]
    few, many = (fmean(own <= 0.05 for one in p for own in one[part] if own is not None) for part in (slice(4), slice(4, 12)))
    assert 0.02 < few < 0.08 and many < 0.08


def test_what_could_never_be_significant_is_undecided() -> None:
    """1 of 90 pairs is the least p that 89 nulls can give: .011 in one language, .1 in nine, which is above .05 whatever the model does."""
    assert is_held(1 / 90, 89, 1, 0.05) is True and is_held(1 / 90, 89, 9, 0.05) is None
    assert is_held(0.5, 89, 1, 0.05) is False and is_held(None, 0, 0, 0.05) is None


def test_how_many_chance_lets_look_held() -> None:
    """Of 20 at .05 each: P(none) .358, P(at most one) .736, two .925, three .984: at most 3. Of none, none; of one at .01, none."""
    assert most_by_chance(20, 0.05) == 3 and most_by_chance(0, 0.05) == 0 and most_by_chance(1, 0.01) == most_by_chance(1, 0.05) == 0
    # Of a hundred thousand, .05 of which is 5,000: 1.645 standard deviations of 68.9 more.
    assert most_by_chance(100_000, 0.05) == pytest.approx(5113, abs=2)


def test_too_few_answers_to_compare_with_decide_nothing(taught: LoadedModel) -> None:
    """Three claims give six pairs that do not belong together, so that no p is below 1/7: nothing is held or not, but what is said is said."""
    few = audit_claims(taught, CLAIMS[:3], Asking(wordings=1, max_new_tokens=6, languages=("de",)))
    assert all(own.nulls <= 6 and few.held(own) is None for own in few.findings)
    assert all(own.said == ("de",) and own.undecided == ("de",) and not own.held and own.found for own in few.verdicts())


def test_a_claim_without_others_of_its_kind_is_asked_alone(taught: LoadedModel) -> None:
    alone = audit_claims(taught, [claim_of(STORIES[0], languages=("de",))], Asking(max_new_tokens=0))
    (own,) = alone.findings
    assert own.p is None and own.edge == 0.0 and own.probability > 0.5


def test_p_counts_for_as_many_languages_as_were_tested() -> None:
    """p = .02 in one of two languages: .04 after Bonferroni, held; in one of three .06, not."""

    def finding(tag: str, p: float | None) -> Finding:
        return Finding("one", tag, "given", 1, 1.0, -3.0, p, 99, p, 0.1, 1.0, None, 0.0, ("",))

    two = Audit("m", "f", ("en", "de"), (), 0.05, (finding("en", 0.02), finding("de", 0.9)))
    three = Audit("m", "f", ("en", "de", "fr"), (), 0.05, (finding("en", 0.02), finding("de", 0.9), finding("fr", 0.9)))
    untested = Audit("m", "f", ("en", "de", "fr"), (), 0.05, (finding("en", 0.02), finding("de", 0.9), finding("fr", None)))
    assert [next(audit.verdicts()).held for audit in (two, three, untested)] == [("en",), (), ("en",)]
    assert next(two.verdicts()).p == pytest.approx(0.04) and next(untested.verdicts()).undecided == ("fr",)


def test_an_audit_survives_the_disk(found: Audit, tmp_path: Path) -> None:
    write_audit(found, tmp_path / "audit.json")
    assert read_audit(tmp_path / "audit.json") == found == audit_of(audit_data(found))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"findings": [{}]}'])
def test_a_file_that_is_no_audit_is_a_users_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "audit.json").write_text(text)
    with pytest.raises(UserError, match=r"audit.json: is no audit .*polyunlearn audit"):
        read_audit(tmp_path / "audit.json")


def test_a_model_that_gives_no_numbers_holds_nothing(gemma_folder: Path) -> None:
    """It is refused, or, where it may be audited all the same, nothing is said of any claim."""
    loaded = sharp(gemma_folder)
    with torch.no_grad():
        loaded.model.base_model.layers[0].mlp.down_proj.weight[0, 0] = torch.nan
    loaded = replace(loaded, body=Body(loaded.model, 0))
    with pytest.raises(UserError, match="gives no numbers for some answers"):
        audit_claims(loaded, CLAIMS, Asking(max_new_tokens=0))
    found = audit_claims(loaded, CLAIMS, Asking(max_new_tokens=0), diverged_too=True)
    assert {found.held(own) for own in found.findings} == {None} and not found.found and not found.groups


def test_a_language_that_no_claim_has_is_a_users_error(taught: LoadedModel) -> None:
    with pytest.raises(UserError, match="no claim has an edition in 'zh'; the file has en, de"):
        audit_claims(taught, CLAIMS, Asking(languages=("zh",)))
