"""What the command line says to a mistake: one message on standard error, exit code 2, no traceback, nothing half-written."""

import json
import os
from pathlib import Path

import pytest
from commands import command

from polyunlearn.corpus.lines import to_json_line
from polyunlearn.corpus.newsroom import generate_stories


def refused(*arguments: str, folder: Path) -> str:
    """Run in `folder`; check that it was refused as a user's mistake and left `folder` as it was; return the message."""
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    started_in = Path.cwd()
    os.chdir(folder)
    try:
        result = command(*arguments)
    finally:
        os.chdir(started_in)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert result.stdout == ""
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["study", "run", "quikstart", "--out", "out"], ["error: unknown preset 'quikstart': did you mean 'quickstart'?"]),
        (["study", "plan", "quickstart", "--set", "unlearning.rat=1"], ["unknown key 'unlearning.rat'; did you mean 'rate'?"]),
        (["study", "run", "quickstart", "--out", "out", "--set", "sources=[xx]"], ["unknown language 'xx'", "known tags are"]),
        (["study", "run", "quickstart", "--out", "out", "--set", "learning.rate=["], ["learning.rate=["]),
        (["study", "run", "quickstart", "--out", "out", "--set", "model=./nowhere"], ["./nowhere", "no such folder"]),
        (["study", "run", "quickstart", "--out", "out", "--set", "corpus=mine.jsonl"], ["mine.jsonl", "no such file"]),
        (["study", "status", "nowhere"], ["nowhere: holds no study", "polyunlearn study run"]),
        (["study", "report", "nowhere"], ["nowhere: holds no study", "polyunlearn study run"]),
        (["corpus", "show", "nowhere"], ["no story 'nowhere'", "polyunlearn corpus export"]),
        (["corpus", "show", "0", "--language", "germn"], ["unknown language 'germn'", "did you mean de"]),
        (["corpus", "export", "--format", "csv", "--out", "out.csv"], ["unknown format 'csv'", "jsonl"]),
        (["corpus", "check", "nowhere.jsonl"], ["nowhere.jsonl: there is no such file"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0] in ("study", "corpus") else "",
)
def test_a_mistake_is_one_message_and_leaves_nothing(tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    message = refused(*arguments, folder=tmp_path)
    assert "error: " in message
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["study", "run", "quickstart"], "--out"),
        (["corpus", "export", "--stories", "0"], "--stories"),
        (["corpsu"], "corpsu"),
    ],
)
def test_a_wrong_call_says_which_part_is_wrong(tmp_path: Path, arguments: list[str], part: str) -> None:
    assert part in refused(*arguments, folder=tmp_path)


def test_every_mistake_is_a_line_of_its_own(tmp_path: Path) -> None:
    message = refused("study", "plan", "quickstart", "--set", "storys=3", "--set", "learning.passes=0", folder=tmp_path)
    lines = [line for line in message.splitlines() if line]
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)


def test_a_bad_corpus_names_every_bad_line(tmp_path: Path) -> None:
    rows = [json.loads(to_json_line(story)) for story in generate_stories(3, languages=("en",))]
    del rows[0]["editions"]["en"]["article"]
    rows[2]["id"] = rows[1]["id"]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refused("corpus", "check", "mine.jsonl", folder=tmp_path)
    assert "error: mine.jsonl:1: field editions.en.article" in message
    assert "error: mine.jsonl:3: the id" in message


@pytest.mark.parametrize("arguments", [["claims", "check"], ["audit", "embedded"], ["unlearn", "embedded"], ["verify", "embedded"]])
def test_a_bad_file_of_claims_is_refused_before_anything_is_loaded(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "claims.jsonl").write_text('{"id": "one"\n')
    out = ["--out", "out"] if arguments[0] == "unlearn" else []
    assert "error: claims.jsonl:1: " in refused(*arguments, "claims.jsonl", *out, folder=tmp_path)


def test_brackets_in_a_value_are_printed_as_they_are(tmp_path: Path) -> None:
    # Rich would read [red] as a colour and swallow it.
    assert "no story '[red]x[/]'" in refused("corpus", "show", "[red]x[/]", folder=tmp_path)


def test_an_export_onto_a_folder_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    assert "taken" in refused("corpus", "export", "--stories", "2", "--out", "taken", folder=tmp_path)


def test_an_export_below_a_file_is_a_users_mistake_and_keeps_the_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert "choose another path" in refused("corpus", "export", "--stories", "2", "--out", "taken/out.jsonl", folder=tmp_path)
    assert (tmp_path / "taken").read_text() == "mine"
