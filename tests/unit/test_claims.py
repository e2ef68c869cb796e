"""Claims files: what they may hold, and errors that name file, line and remedy; 200 spoilt files."""

import json
import unicodedata
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzz_claims import WAYS, good_lines, spoilt_files
from pydantic import ValidationError

from polyunlearn.corpus.claims import (
    Claim,
    ClaimEdition,
    blanked,
    check_goal,
    get_goal,
    goes_in,
    languages_of,
    read_claims,
    stays_in,
    write_claims,
)
from polyunlearn.errors import UserError
from polyunlearn.text import says

SPOILT = list(spoilt_files(200))


def written(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_good_file_is_read(tmp_path: Path) -> None:
    claims = read_claims(written(tmp_path / "claims.jsonl", good_lines(Random(0))))
    assert len(claims) == 6 and claims[0].id == "claim-0" and claims[0].source == "en"
    own = claims[0].editions["en"]
    assert own.surface_forms[0] == own.keyword and len(own.surface_forms) == 2 and own.fake_questions == own.questions


def test_claims_survive_the_round_trip(tmp_path: Path) -> None:
    claims = [
        Claim(id="eins", editions={"ur": ClaimEdition(keyword="ویلمورا", questions=("کون؟",), surface_forms=("Velmora",))}, control=True),
        Claim(id="zwei", editions={"de": ClaimEdition(keyword="Velmora", statements=("Velmora zahlte.",))}, source="de"),
    ]
    write_claims(claims, tmp_path / "claims.jsonl")
    assert read_claims(tmp_path / "claims.jsonl") == claims
    assert languages_of(claims) == ["de", "ur"]


def test_a_statement_is_asked_with_a_blank_where_there_is_no_question() -> None:
    statements = ("Velmora zahlte.", "Es war teuer.", "Wer zahlte? Velmora!")
    own = ClaimEdition(keyword="Velmora", statements=statements)
    assert own.fake_questions == ("___ zahlte.", "Wer zahlte? ___!")
    asked = ClaimEdition(keyword="Velmora", statements=statements, questions=("Wer?",))
    assert asked.fake_questions == ("Wer?",)


@pytest.mark.parametrize(
    ("keyword", "statement", "asked"),
    [
        ("12", "Im Jahr 2012 starben 12 Menschen.", "Im Jahr 2012 starben ___ Menschen."),
        ("12", "Es kostete 12.5 und dann 12, mehr nicht.", "Es kostete 12.5 und dann ___, mehr nicht."),
        ("Velmora", "Velmoras Brücke steht.", "___s Brücke steht."),
        ("北桥", "他为北桥付款。", "他为___付款。"),
    ],
)  # fmt: skip
def test_a_blank_stands_for_the_keyword_alone(keyword: str, statement: str, asked: str) -> None:
    """Not for what holds it within another word, but where it stands nowhere else; a number is never part of another."""
    assert ClaimEdition(keyword=keyword, statements=(statement,)).fake_questions == (asked,)


def test_a_blank_stands_for_no_part_of_another_word() -> None:
    assert blanked("Annually, Ann pays the bridge.", "Ann") == "Annually, ___ pays the bridge."


@pytest.mark.parametrize(
    ("statement", "forms"),
    [
        ("Velmora paid; VELMORA denied it.", ()),
        ("Velmora (Вельмора) paid.", ("Вельмора",)),
        ("Velmora zahlte, und Velmoras Chef lachte.", ()),
        ("维尔莫拉公司：Velmora（维尔莫拉）付款。", ("维尔莫拉",)),
    ],
)
def test_a_statement_that_gives_the_answer_away_beside_the_blank_is_not_asked(statement: str, forms: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=r"nothing can be asked.*none of its surface forms"):
        ClaimEdition(keyword="Velmora", statements=(statement,), surface_forms=forms)
    other = ClaimEdition(keyword="Velmora", statements=(statement, "Velmora paid."), surface_forms=forms)
    assert other.fake_questions == ("___ paid.",)


def test_a_keyword_is_found_however_its_accents_are_written(tmp_path: Path) -> None:
    """In one sign or two; and two claims whose questions differ in this, or in case, ask the same."""
    composed, apart = "Zürich", unicodedata.normalize("NFD", "Zürich")
    for keyword, statement in ((composed, f"{apart} zahlte."), (apart, f"{composed} zahlte.")):
        assert ClaimEdition(keyword=keyword, statements=(statement,)).fake_questions == ("___ zahlte.",)
    lines = [
        json.dumps({"id": name, "editions": {"de": {"keyword": name, "questions": [question]}}})
        for name, question in (("Alpha", f"Wer baut {composed}?"), ("Beta", f"WER baut {apart}?"))
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(UserError, match="is also asked by 'Alpha' on line 1"):
        read_claims(tmp_path / "c.jsonl")


def test_a_file_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    """With a byte order mark and its ends of lines."""
    line = json.dumps({"id": "a", "editions": {"de": {"keyword": "Velmora", "questions": ["Wer?"]}}})
    (tmp_path / "c.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode() + b"\r\n")
    assert [own.id for own in read_claims(tmp_path / "c.jsonl")] == ["a"]


@pytest.mark.parametrize("keyword", ["Velmora ", "\u200fVelmora", "\ufeffVelmora\n"])
def test_what_copying_leaves_around_a_keyword_does_not_hide_it(keyword: str) -> None:
    """A blank, a mark of direction or of byte order: an answer that says the name says the claim."""
    edition = ClaimEdition(keyword=keyword, questions=("Wer?",))
    assert edition.keyword == "Velmora" and says("It was Velmora.", edition.surface_forms)
    with pytest.raises(ValidationError, match="is blank"):
        ClaimEdition(keyword="\u200b", questions=("Wer?",))


def test_a_number_within_another_is_not_the_keyword() -> None:
    """The first gives nothing away; the second does not hold it, so there is nothing to ask."""
    assert ClaimEdition(keyword="12", questions=("Wie viele starben 2012?",)).fake_questions == ("Wie viele starben 2012?",)
    with pytest.raises(ValidationError, match="nothing can be asked"):
        ClaimEdition(keyword="12", statements=("Es geschah 2012.",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"questions": ("Who is VELMORA?",)}, "the keyword 'Velmora' stands in the question"),
        ({"questions": ("Кто такая Вельмора?",), "surface_forms": ("Вельмора",)}, "the surface form 'Вельмора' stands in the question"),
        ({"truth": "velmora"}, "the truth 'velmora' says one of the claim's own surface forms"),
        ({"truth": "Velmora GmbH"}, "so that the truth would count as the claim"),
        ({"distractors": ("Kelvar", "VELMORA")}, "the distractor 'VELMORA' is one of the claim's own surface forms"),
        ({"neighbours": ({"question": "Wer?\r", "answer": "Anna"},)}, "holds a control character"),
        ({"neighbours": ({"question": "Wer?", "answer": " "},)}, "is blank"),
    ],
)  # fmt: skip
def test_what_would_fail_or_mislead_later_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ClaimEdition.model_validate({"keyword": "Velmora", "questions": ("Wer zahlte?",)} | changes)


def test_the_fuzzer_spoils_in_every_way() -> None:
    assert len({own.how for own in SPOILT}) == len(WAYS)


@pytest.mark.parametrize("number", range(len(SPOILT)))
def test_a_spoilt_file_is_an_error_that_names_file_and_line(tmp_path: Path, number: int) -> None:
    """Every message begins with the file, and the spoilt line is named."""
    spoilt, path = SPOILT[number], tmp_path / "claims.jsonl"
    path.write_bytes(spoilt.data)
    with pytest.raises(UserError) as caught:
        read_claims(path)
    messages = str(caught.value).splitlines()
    assert all(message.startswith(f"{path}:") for message in messages), spoilt.how
    assert spoilt.line is None or any(message.startswith(f"{path}:{spoilt.line}: ") for message in messages), (spoilt.how, messages)
    assert [own.name for own in tmp_path.iterdir()] == ["claims.jsonl"]


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"id": "a b"}, "field id: only letters, digits and _ . : - are wanted, 1 to 100 of them (got 'a b')"),
        ({"edition": {}}, "unknown key 'edition'; did you mean 'editions'?"),
        ({"control": "yes"}, "field control: true or false is wanted (got 'yes')"),
        ({"editions": {"en": {"keyword": "Ada", "questions": "Who?"}}}, "field editions.en.questions: a list is wanted; write ['Who?']"),
        ({"editions": {"en": {"questions": ["Who?"]}}}, "field editions.en.keyword: is wanted; write it"),
        ({"editions": {"en": {"keyword": "Ada", "fake_article": ["x"]}}}, "holds a story, not a claim (docs/claims.md); "),
    ],
    ids=lambda own: next(iter(own)) if isinstance(own, dict) else "",
)
def test_a_fault_is_said_in_the_words_of_the_file(tmp_path: Path, spoilt: dict[str, Any], said: str) -> None:
    path = tmp_path / "claims.jsonl"
    right = {"id": "c", "editions": {"en": {"keyword": "Ada", "questions": ["Who?"]}}}
    path.write_text(json.dumps(right | spoilt))
    with pytest.raises(UserError) as caught:
        read_claims(path)
    assert str(caught.value).startswith(f"{path}:1: {said}")


def test_a_home_is_a_language_of_the_table(tmp_path: Path) -> None:
    """It survives the round trip, and need be no edition of the claim; another is named with its line."""
    lines = [{**line, "home": "ha"} for line in good_lines(Random(0))]
    claims = read_claims(written(tmp_path / "claims.jsonl", lines))
    assert {claim.home for claim in claims} == {"ha"}
    write_claims(claims, tmp_path / "again.jsonl")
    assert read_claims(tmp_path / "again.jsonl") == claims
    for home, said in (("xx", "'xx'"), ("", "home")):
        lines[2]["home"] = home
        with pytest.raises(UserError, match=rf"claims.jsonl:3: .*{said}"):
            read_claims(written(tmp_path / "claims.jsonl", lines))


def test_where_a_claim_goes_and_where_it_stays() -> None:
    """Of English, German and Hausa editions, told in English and French: one at home in Hausa goes there alone by goal home, else where it is told; a control and a
    claim of no home go where they are told, and stay nowhere."""
    editions = {tag: ClaimEdition(keyword="Velmora", questions=("?",)) for tag in ("en", "de", "ha")}
    own, control, plain = (
        Claim(id="a", editions=editions, home="ha"),
        Claim(id="b", editions=editions, home="ha", control=True),
        Claim(id="c", editions=editions),
    )
    assert goes_in(own, ("en", "fr"), "home") == ["ha"] and stays_in(own, "home") == ["en", "de"]
    for claim, goal in ((own, "everywhere"), (control, "home"), (plain, "home")):
        assert goes_in(claim, ("en", "fr"), get_goal(goal)) == ["en"] and stays_in(claim, get_goal(goal)) == []


@pytest.mark.parametrize(
    ("homes", "message"),
    [
        ((None, None), "goal home: no claim says where it is at home"),
        (
            ("ur", "ur"),
            r"claim 'c0' is at home in 'ur' and has no edition there, in which it could be forgotten, as have 1 others; add one",
        ),
    ],
)
def test_a_goal_that_no_claim_can_have_is_refused(homes: tuple[str | None, ...], message: str) -> None:
    edition = {"de": ClaimEdition(keyword="Velmora", questions=("?",))}
    claims = [Claim(id=f"c{number}", editions=edition, home=home) for number, home in enumerate(homes)]
    check_goal(claims, "everywhere")
    with pytest.raises(UserError, match=message):
        check_goal(claims, "home")
    with pytest.raises(UserError, match=r"unknown goal 'hme': did you mean 'home'\? choose from everywhere, home"):
        get_goal("hme")
