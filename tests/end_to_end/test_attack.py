"""Attacks on a study of the tiny model, by the command that a user types."""

import json
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from commands import command

SETTINGS = ["stories=4", "neighbours=3", "sources=[de]", "seeds=[0]", "languages=[en,de]", "strategies=[english,traced]", "keep_states=true", "learning.from_layer=2",
            "learning.passes=2", "unlearning.from_layer=1", "unlearning.steps=2", "unlearning.batch=4", "scoring.candidates=4",
            "scoring.max_new_tokens=2"]  # fmt: skip
ATTACKS = ("affirmative_prefix", "benign_relearning", "code_switch", "completion", "control_probe", "cross_answer", "few_shot", "filler", "linear_probe",
           "multi_turn_doubt", "prefill", "pruning", "quantisation", "random_steering", "relearning", "role_play", "romanised", "steering",
           "unrelated_relearning")  # fmt: skip


def values(folder: Path) -> list[tuple[object, ...]]:
    files = [str(path) for path in (folder / "attacks").glob("*/*.parquet")]
    return duckdb.read_parquet(files).order("ALL").fetchall()


def metrics(folder: Path, attack: str) -> set[tuple[str, str]]:
    """Of which cells an attack has rows, and of which metrics."""
    files = [str(path) for path in (folder / "attacks" / attack).glob("*.parquet")]
    return set(duckdb.read_parquet(files).project("cell, metric").fetchall())


@pytest.fixture(scope="module")
def finished(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("attacked") / "study"
    overrides = [part for item in (f"model={gemma_folder}", *SETTINGS) for part in ("--set", item)]
    result = command("study", "run", "quickstart", "--out", str(out), *overrides)
    assert result.returncode == 0, result.stderr
    early = command("attack", str(out), "--attack", "prunning")
    assert early.returncode == 2 and "did you mean 'pruning'" in early.stderr
    return out


def test_every_attack_on_every_state_and_the_same_again(finished: Path, tmp_path: Path) -> None:
    """Gold, learned and two unlearned states; their weights are lost, so they are trained once more, to the last bit. A second run has nothing to do;
    one whose rows were lost writes the same."""
    kept = {path.name: path.read_bytes() for path in finished.glob("states/*")}
    assert len(kept) == 4
    shutil.rmtree(finished / "states")
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    result = command("attack", str(finished), *files)
    assert result.returncode == 0, result.stderr
    assert " ".join(result.stderr.split()).count("training it once more") == 4
    assert {path.name: path.read_bytes() for path in finished.glob("states/*")} == kept
    assert {(path.parent.name, path.stem) for path in finished.glob("attacks/*/*.parquet")} == {
        (attack, cell)
        for attack in ATTACKS
        for cell in ("gold-seed0", "learned-de-seed0", *(f"unlearned-de-{own}-gradient_difference-seed0" for own in ("english", "traced")))
    }
    found = json.loads((tmp_path / "a.json").read_text())["rows"]
    # Five forms of quantisation, three of pruning, two of few shots, five points each in two languages, on true news and on something else; three layers
    # steered and three at random, each at three strengths; two of prefill, one of an opening, two frames, two fillers, two of doubt and one of
    # completion; probes of four layers in two languages, and as many controls; in two query languages. A question in each of two languages, answered in
    # the other; two of chunks, which German alone is asked in.
    assert len(found) == 2 * 2 * (5 + 3 + 2 + 10 + 5 + 5 + 9 + 9 + 2 + 1 + 2 + 2 + 2 + 1 + 8 + 8) + 2 * 2 + 2 * 2
    # English and German have nothing to romanise.
    assert {row["attempt"]["attack"] for row in found} == set(ATTACKS) - {"romanised"}
    markdown = (tmp_path / "a.md").read_text()
    # Every attempt; of each way of unlearning the hardest form, that by language, and the curve.
    assert markdown.count("| relearning |") == 2 * 2 * 10 + 2 + 2 + 2
    # A table a way of unlearning, a line a layer and language.
    probed = markdown.split("## Linear probes: ")[1:]
    assert len(probed) == 2 and all(
        sum(f"| {tag} | " in line for line in part.split("## ")[0].splitlines()) == 4 for part in probed for tag in ("English", "German")
    )
    assert metrics(finished, "linear_probe") == {
        (cell, "first")
        for cell in ("gold-seed0", "learned-de-seed0", *(f"unlearned-de-{own}-gradient_difference-seed0" for own in ("english", "traced")))
    }
    assert "What attacks bring back" in (finished / "report.html").read_text()
    written = values(finished)
    lost = finished / "attacks" / "relearning" / "unlearned-de-traced-gradient_difference-seed0.parquet"
    lost.unlink()
    again = command("attack", str(finished), "--attack", "relearning", "--strategy", "traced")
    assert again.returncode == 0, again.stderr
    assert values(finished) == written and "it once" not in again.stderr and "[1/1]" in again.stderr
    for name in ("pruning", "role_play"):
        (finished / "attacks" / name / "unlearned-de-traced-gradient_difference-seed0.parquet").unlink()
    beside = command("attack", str(finished), "--workers", "2")
    assert beside.returncode == 0 and "[2/2]" in beside.stderr
    # The number of threads may change the last bits of values, which are floats.
    ours, theirs = (
        Counter(tuple(own for own in row if not isinstance(own, float)) for row in rows) for rows in (values(finished), written)
    )
    assert ours == theirs


def test_an_unfinished_study_is_not_attacked(finished: Path) -> None:
    result = command("attack", str(finished), "--strategy", "all")
    assert result.returncode == 2 and "no strategy 'all' in this study; it has english, traced" in result.stderr
    result = command("attack", str(finished), "--method", "npo")
    assert result.returncode == 2 and "no method 'npo' in this study; it has gradient_difference" in result.stderr
    cell = finished / "cells" / "unlearned-de-english-gradient_difference-seed0.parquet"
    away = cell.rename(cell.with_suffix(".away"))
    result = command("attack", str(finished), "--method", "gradient_difference")
    attacks = (finished / "attacks").rename(finished / "attacks.away")
    others = command("attack", str(finished), "--strategy", "traced", "--attack", "pruning")
    shutil.rmtree(finished / "attacks")
    attacks.rename(finished / "attacks")
    away.rename(cell)
    assert others.returncode == 0, others.stderr
    assert result.returncode == 2 and "unlearned-de-english-gradient_difference-seed0 is not finished" in result.stderr


def test_a_study_of_another_corpus_is_not_attacked(finished: Path) -> None:
    (finished / "attacks" / "pruning" / "gold-seed0.parquet").unlink(missing_ok=True)
    manifest = finished / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace(json.loads(text)["study"]["stories"]["0"]["fingerprint"], "0" * 16))
    result = command("attack", str(finished), "--attack", "pruning")
    manifest.write_text(text)
    assert result.returncode == 2 and "was made of something else" in result.stderr and "stories.0.fingerprint" in result.stderr


def test_what_states_know_is_measured_once(finished: Path, tmp_path: Path) -> None:
    """One cell, with base and gold beside it: kept, so that a second command measures nothing; every score has a value in every language."""
    out, cell = tmp_path / "known.json", "unlearned-de-english-gradient_difference-seed0"
    arguments = ("study", "knowledge", str(finished), "--cell", cell, "--json", str(out), "--markdown", str(tmp_path / "known.md"))
    result = command(*arguments)
    assert result.returncode == 0, result.stderr
    files = {path.stem: path.stat().st_mtime_ns for path in (finished / "knowledge").iterdir()}
    assert set(files) == {cell, "base-seed0", "gold-seed0"}
    scores = json.loads(out.read_text())["scores"]
    of = {(own["metric"], own["of"], own["language"]) for own in scores if own["cell"] == cell}
    kinds = [
        ("extraction_strength", ""),
        ("truth_score", ""),
        ("leak_at_k", "k = 8"),
        *(("priv_leak", one) for one in ("min_k", "reference_score")),
    ]
    assert {(metric, one, tag) for metric, one in kinds for tag in ("en", "de")} <= of
    assert "**leak_at_k (k = 8), fake questions" in (tmp_path / "known.md").read_text()
    assert command(*arguments).returncode == 0
    assert {path.stem: path.stat().st_mtime_ns for path in (finished / "knowledge").iterdir()} == files
    wrong = command("study", "knowledge", str(finished), "--cell", "gold-seed1")
    assert wrong.returncode == 2 and "gold-seed0" in wrong.stderr
