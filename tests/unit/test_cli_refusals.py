"""What a user types that would do nothing, or write over something, is refused before anything is read or run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from polyunlearn.cli import app
from polyunlearn.cli.outputs import check_outputs
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
        ["trace", "nowhere", "claims.jsonl", "--parallel", "FILE", "--markdown", "FILE"],
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
    said = "is read here" if arguments[0] == "trace" else "is named twice"
    assert said in refused([str(path) if own == "FILE" else own for own in arguments])
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


def _study(folder: Path) -> Path:
    for name in ("manifest.json", "cells/base-seed1.parquet", "layers/learned-de-seed1.html"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("its own")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "STUDY", "--metric", "rouge_l", "--json", "STUDY/manifest.json"],
        ["study", "matrices", "STUDY", "--markdown", "STUDY/cells/base-seed1.parquet"],
        ["study", "benchmark", "STUDY", "--task", "t", "--json", "STUDY/manifest.json"],
        ["study", "compare", "STUDY", "--json", "STUDY/manifest.json"],
        ["study", "knowledge", "STUDY", "--json", "STUDY/manifest.json"],
        ["compare", "a", "STUDY", "--json", "STUDY/manifest.json"],
        ["attack", "STUDY", "--json", "STUDY/manifest.json"],
        ["trace", "STUDY", "--json", "STUDY/manifest.json"],
        ["trace", "STUDY", "--html", "STUDY/layers/learned-de-seed1.html"],
    ],
    ids=" ".join,
)
def test_no_file_of_a_study_is_written_over(tmp_path: Path, arguments: list[str]) -> None:
    folder = _study(tmp_path / "study")
    assert "is a file of" in refused([own.replace("STUDY", str(folder)) for own in arguments])
    assert (folder / "manifest.json").read_text() == "its own"


@pytest.mark.parametrize("command", ["audit", "verify", "trace", "abstain", "barriers", "suppress", "truthfulness"])
def test_no_file_of_a_model_is_written_over(tmp_path: Path, command: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    ways = ["--way", "contrast", "--language", "de"] if command == "suppress" else []
    assert "is a file of" in refused([command, str(tmp_path), "claims.jsonl", *ways, "--json", str(tmp_path / "config.json")])
    assert (tmp_path / "config.json").read_text() == "{}"


def test_what_a_study_does_not_need_may_be_written_into_it_again(tmp_path: Path) -> None:
    """Figures beside a study, from an earlier time."""
    folder = _study(tmp_path / "study")
    (folder / "compared.json").write_text("{}")
    check_outputs(folder / "compared.json", study=folder)
    check_outputs(folder / "report.html", study=folder)


@pytest.mark.parametrize(("out", "said"), [("", "a folder stands there"), ("a file/x.json", "a file stands where a folder is needed")])
def test_an_output_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path, out: str, said: str) -> None:
    (tmp_path / "a file").write_text("mine")
    assert said in refused(["audit", "nowhere", "claims.jsonl", "--json", str(tmp_path / out)])


@pytest.mark.parametrize(
    "arguments",
    [
        ["claims", "import", "tofu", "rows.csv", "--out", "FILE"],
        ["claims", "translate", "claims.jsonl", "--languages", "de", "--out", "FILE", "--nllb", "nowhere"],
        ["corpus", "export", "--out", "FILE"],
    ],
    ids=" ".join,
)
def test_data_that_stands_there_is_not_written_over(tmp_path: Path, arguments: list[str]) -> None:
    path = tmp_path / "by hand.jsonl"
    path.write_text("mine")
    assert "stands there already" in refused([str(path) if own == "FILE" else own for own in arguments])
    assert path.read_text() == "mine"


def test_translating_into_no_language_is_refused(tmp_path: Path) -> None:
    assert "--languages ',': names none" in refused([*TRANSLATE[:4], ",", *TRANSLATE[5:-2], "--nllb", "nowhere"])


def test_a_field_that_is_mapped_twice_is_refused() -> None:
    arguments = ["claims", "import", "tofu", "nowhere.csv", "--out", "out.jsonl", "--map", "question=frage", "--map", "question=reply"]
    assert refused(arguments).startswith("--map question=…: is given twice")


def test_no_more_candidates_than_stories() -> None:
    assert "give --stories 99 or more" in refused(["comprehend", "nowhere", "--stories", "2", "--candidates", "99"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "MODEL", "CLAIMS", "--language", "hy"], "no claim has an edition in 'hy'"),
        (["verify", "MODEL", "CLAIMS", "--language", "hy"], "no claim has an edition in 'hy'"),
        (["trace", "MODEL", "CLAIMS", "--language", "hy"], "no claim has an edition in 'hy'"),
        (["abstain", "MODEL", "CLAIMS", "--language", "hy"], "no claim has an edition in 'hy'"),
        (["unlearn", "MODEL", "CLAIMS", "--out", "OUT", "--language", "hy"], "no claim has an edition in 'hy'"),
        (["unlearn", "MODEL", "CLAIMS", "--out", "OUT", "--rate", "nan"], "rate nan: give a finite number above 0"),
        (["unlearn", "MODEL", "CLAIMS", "--out", "OUT", "--from-layer", "2", "--to-layer", "1"], "to_layer 1: nothing would train"),
    ],
    ids=lambda own: " ".join(own) if isinstance(own, list) else "",
)
def test_what_cannot_be_is_said_before_a_model_is_loaded(tmp_path: Path, arguments: list[str], said: str) -> None:
    """The model is a folder with nothing in it that could be loaded."""
    claims = tmp_path / "claims.jsonl"
    claims.write_text('{"id": "c", "editions": {"en": {"keyword": "Ada", "questions": ["Who?"]}}}')
    named = {"MODEL": str(tmp_path / "nowhere"), "CLAIMS": str(claims), "OUT": str(tmp_path / "out")}
    assert said in refused([named.get(own, own) for own in arguments])
    assert [own.name for own in tmp_path.iterdir()] == ["claims.jsonl"]


def test_a_gpu_that_is_too_small_is_a_users_matter(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What PyTorch says of it is a page; its first sentence is said, and what helps. Other errors stay errors."""

    def run(error: RuntimeError) -> None:
        def fails() -> None:
            raise error

        # The package has a name `app` of its own, which hides its module.
        module = sys.modules["polyunlearn.cli.app"]
        monkeypatch.setattr(module, "app", fails)
        module.main()

    with pytest.raises(SystemExit, match="2"):
        run(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."))
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith("error: the GPU's memory ran out (CUDA out of memory); use fewer --workers") and "GiB" not in said
    with pytest.raises(RuntimeError, match="shapes"):
        run(RuntimeError("shapes do not match"))
