"""Claims files: what they may hold, and errors that name file, line and remedy; 200 spoilt files."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fuzz_claims import WAYS, good_lines, spoilt_files

from polyunlearn.corpus.claims import Claim, ClaimEdition, languages_of, read_claims, write_claims
from polyunlearn.errors import UserError

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
