"""The guide: every command of it, and its Python, on a tiny model in place of the planted one."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from handmade_claims import CLAIMS, teach
from tiny import sharp

from polyunlearn.corpus.claims import write_claims

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text(encoding="utf-8")
COMMANDS = [command for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.S) for command in block.strip().splitlines()]


@pytest.fixture(scope="module")
def place(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `planted/` is what the guide's first command leaves, but tiny."""
    folder = tmp_path_factory.mktemp("guide")
    loaded = sharp(gemma_folder)
    teach(loaded)
    loaded.model.save_pretrained(folder / "planted" / "model")
    loaded.encoder.tokenizer.save_pretrained(folder / "planted" / "model")
    write_claims(CLAIMS, folder / "planted" / "translated.jsonl")
    return folder


def ran(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=place, capture_output=True, text=True, check=False)


def command(name: str) -> list[str]:
    """The guide's command of this name, as arguments of Python."""
    (found,) = [own for own in COMMANDS if f"polyunlearn {name} " in own]
    return ["-m", "polyunlearn", *shlex.split(found)[1:]]


def test_the_guide_is_run_whole(place: Path) -> None:
    """In the guide's order. A random tiny model stays in no budget, so that `unlearn` may say so by its exit code; each writes what the guide says."""
    assert [own.split()[1] for own in COMMANDS] == ["examples/plant_claims.py", "claims", "audit", "unlearn", "verify"]
    checked = ran(place, *command("claims"))
    assert checked.returncode == 0 and "4 claims and 8 controls in en, de; nothing to mend" in checked.stdout
    audited = ran(place, *command("audit"))
    assert audited.returncode == 1, audited.stderr
    assert "4 of 4 claims are held or said" in audited.stdout and "Of 8 control claims" in audited.stdout
    assert "dir=" in (place / "audit.html").read_text() and len(json.loads((place / "audit.json").read_text())["findings"]) == 24
    before = {path: path.read_bytes() for path in (place / "planted" / "model").iterdir()}
    unlearned = ran(place, *command("unlearn"))
    assert unlearned.returncode in (0, 1), unlearned.stderr
    assert "Unlearned 4 claims" in unlearned.stdout
    own = {path.relative_to(place / "cleaned").as_posix() for path in (place / "cleaned").rglob("*") if path.is_file()}
    wanted = ("audit-before.json", "audit-after.json", "claims.jsonl", "points.json", "report.html", "trained.json")
    assert {"config.json", "model.safetensors", "README.md", *(f"unlearning/{name}" for name in wanted)} <= own
    assert not (place / "cleaned.unfinished").exists()
    assert {path: path.read_bytes() for path in (place / "planted" / "model").iterdir()} == before
    assert "4 claims unlearned" in (place / "cleaned" / "README.md").read_text()
    again = ran(place, *command("unlearn"))
    assert again.returncode == 2 and "is there already" in again.stderr
    verified = ran(place, *command("verify"))
    assert verified.returncode in (0, 1, 3), verified.stderr
    result = {0: "passed", 1: "failed", 3: "undecided"}[verified.returncode]
    assert {"passed": "PASS", "failed": "FAIL", "undecided": "UNDECIDED"}[result] in verified.stdout
    assert "What attacks bring back" in verified.stdout and "Attacks: quantisation" in verified.stdout
    # The claims have two wordings each, and both were trained on.
    assert "ASKED ONLY IN WORDINGS THAT WERE TRAINED ON: claims, " in verified.stdout
    written = json.loads((place / "verify.json").read_text())
    assert written["result"] == result and written["wordings"]["asked"] == 16 and written["wordings"]["trained"] > 0


def test_the_guides_python_runs(place: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    done = ran(place, "-c", source)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str([claim.id for claim in CLAIMS[:4]]) and done.stdout.splitlines()[-1] in (
        "passed",
        "failed",
        "undecided",
    )
