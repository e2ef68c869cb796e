"""What a user types that would do nothing, or write over something, is refused before anything is read or run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polyunlearn.cli import app
from polyunlearn.errors import UserError

SCORE = ["score", "nowhere", "--metric", "truthful"]
TRANSLATE = ["claims", "translate", "claims.jsonl", "--languages", "de", "--out", "out.jsonl", "--nllb", "nowhere"]
OF_ENDPOINTS = [["--model", "m"], ["--key-variable", "KEY"], ["--per-minute", "3"], ["--timeout", "120"], ["--parameter", "top_p=1"]]


def refused(arguments: list[str]) -> str:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UserError), result.output
    return str(result.exception)


@pytest.mark.parametrize("option", OF_ENDPOINTS, ids=lambda own: own[0])
@pytest.mark.parametrize("command", [SCORE, [*SCORE, "--judge", "folder"], TRANSLATE], ids=["no judge", "judge", "nllb"])
def test_how_an_endpoint_is_asked_is_refused_where_none_is(command: list[str], option: list[str]) -> None:
    """Also where what is typed is what holds anyway."""
    message = refused([*command, *option])
    assert message.startswith(f"{option[0]} changes nothing here") and message.endswith("leave it out")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["truthfulness", "nowhere", "a.csv", "--truthfulqa", "--wordings", "2"], "--wordings"),
        (["verify", "nowhere", "claims.jsonl", "--no-attacks", "--allowed", "0.1"], "--allowed"),
    ],
)
def test_what_another_option_makes_void_is_refused(arguments: list[str], option: str) -> None:
    assert refused(arguments).startswith(f"{option} changes nothing here")


@pytest.mark.parametrize("arguments", [SCORE, TRANSLATE, ["verify", "nowhere", "claims.jsonl", "--no-attacks"]])
def test_what_was_not_typed_is_not_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exception and "changes nothing" not in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["trace", "nowhere", "FILE", "--json", "FILE"],
        ["trace", "nowhere", "FILE", "--html", "FILE"],
        ["compare", "a", "b", "--json", "FILE", "--markdown", "FILE"],
        ["study", "compare", "a", "--json", "FILE", "--markdown", "FILE"],
        ["study", "matrices", "a", "--json", "FILE", "--markdown", "FILE"],
        ["attack", "a", "--json", "FILE", "--markdown", "FILE"],
        ["methods", "--json", "FILE", "--markdown", "FILE"],
    ],
    ids=" ".join,
)
def test_nothing_is_written_over_what_is_read_or_written(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    assert "is named twice" in refused([str(path) if own == "FILE" else own for own in arguments])
    assert path.read_text() == "mine"


def test_a_console_that_cannot_write_every_script_gets_a_question_mark() -> None:
    """As Windows writes into a file by default; not a traceback after hours of work."""
    program = (
        "import sys\n"
        "from polyunlearn.cli.app import app, console, main\n"
        "@app.command('said')\n"
        "def said(): console.print('.94 → .05, ویلمورا'); print('written −')\n"
        "sys.argv = ['polyunlearn', 'said']\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert done.stdout.decode("cp1252").splitlines()[0].startswith(".94 ? .05, ?") and b"written" in done.stdout
