"""What a person is told who interrupts a command."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import polyunlearn.models.loading as loading
import polyunlearn.study.run as run
from polyunlearn.cli.app import app
from polyunlearn.corpus.claims import Claim, ClaimEdition, write_claims


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    path = tmp_path / "claims.jsonl"
    write_claims([Claim(id="a", editions={"en": ClaimEdition(keyword="Velmora", statements=("Velmora bought Kestrin.",))})], path)
    return path


@pytest.mark.parametrize(
    ("command", "left"),
    [
        (["audit"], "interrupted; nothing was written"),
        (["verify"], "interrupted; nothing was written"),
        (["suppress", "--way", "contrast"], "interrupted; nothing was written"),
        (["unlearn", "--out", "cleaned"], "interrupted; the same command goes on from cleaned.unfinished"),
    ],
)
def test_an_interruption_says_what_it_leaves(
    claims: Path, tmp_path: Path, gemma_folder: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], left: str
) -> None:
    """Exit code 130 is a shell's for what Ctrl-C ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_model", _interrupted)
    result = CliRunner().invoke(app, [command[0], str(gemma_folder), str(claims), *command[1:]])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (130, left)
    assert not list(tmp_path.glob("cleaned*"))


def test_a_study_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "run_study", _interrupted)
    result = CliRunner().invoke(app, ["study", "run", "quickstart", "--out", str(tmp_path / "run")])
    assert (result.exit_code, result.stderr) == (130, "interrupted; the same command goes on from here\n")
