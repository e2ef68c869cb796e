"""`polyunlearn score` with a judge, as a user types it."""

import json
from pathlib import Path

from misbehaving_server import Misbehaving, serving
from test_judging import STATED
from test_rescoring import store
from typer.testing import CliRunner

from polyunlearn.cli import app
from polyunlearn.errors import UserError


def test_a_chat_judge_is_asked_once_and_kept_in_the_studys_folder(tmp_path: Path) -> None:
    """Three languages × four stories × (one answer to two wordings + one real) are 3 · 4 · 3 questions, the same in every cell: 36 requests, then none."""
    store(tmp_path / "study", lambda *own: "Velmora")
    with serving(Misbehaving(lambda prompt: json.dumps(STATED))) as server:
        arguments = ["score", str(tmp_path / "study"), "--metric", "truthful", "--metric", "refuses", "--judge", server.url, "--model", "m"]
        for _ in range(2):
            result = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "out.json")])
            assert result.exit_code == 0 and len(server.bodies) == 36
    assert len(list((tmp_path / "study" / "judgements").rglob("*.json"))) == 36
    scores = json.loads((tmp_path / "out.json").read_text())["scores"]
    assert {own["metric"] for own in scores} == {"truthful", "refuses"} and all(own["value"]["mean"] == 0 for own in scores)


def test_a_judge_that_is_missing_or_not_there_is_named(tmp_path: Path) -> None:
    store(tmp_path / "study", lambda *own: "Velmora")
    for more, said in (([], "--judge FOLDER"), (["--judge", str(tmp_path / "nowhere")], "could not be loaded")):
        result = CliRunner().invoke(app, ["score", str(tmp_path / "study"), "--metric", "entailment", *more])
        assert isinstance(result.exception, UserError) and said in str(result.exception)
