"""An unlearned model as a folder or an adapter on disk, which others load, and what is never left or written over."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from handmade_claims import CLAIMS, SETTINGS, taught
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import polyunlearn.cli.claims  # noqa: F401 — adds its commands
from polyunlearn.cleaning.export import check_target, whole_folder, write_model
from polyunlearn.cleaning.unlearn import Cleaning, unlearn_claims
from polyunlearn.cli.app import app
from polyunlearn.corpus.claims import write_claims
from polyunlearn.errors import UserError
from polyunlearn.models.loading import LoadedModel, load_model


def test_the_folder_loads_with_transformers_alone(cleaned: tuple[LoadedModel, Cleaning, Path], tmp_path: Path) -> None:
    """The same logits to the last bit; what is written beside is there; nothing but the folder is left."""
    loaded, _, _ = cleaned
    write_model(loaded, tmp_path / "out", lambda folder: (folder / "README.md").write_text("card") and None)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("Eine Frage", return_tensors="pt")["input_ids"]
    assert torch.equal(model(input_ids=ids).logits, loaded.model(input_ids=ids).logits)
    assert all(own.stat().st_mode & 0o044 == 0o044 for own in (tmp_path / "out").iterdir())  # others on the machine may read it
    assert (tmp_path / "out" / "README.md").read_text() == "card" and [own.name for own in tmp_path.iterdir()] == ["out"]


def test_a_model_that_cannot_be_written_is_a_users_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gemma: LoadedModel) -> None:
    """A full disk, as safetensors says it: the system's error stands in its text alone."""

    def full(*args: Any, **kwargs: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(gemma.model, "save_pretrained", full)
    with pytest.raises(UserError, match="no space left on the disk"):
        write_model(gemma, tmp_path / "out", lambda folder: None)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_fails_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="is the model itself"):
        check_target(tmp_path / "model", str(tmp_path / "model"))
    with pytest.raises(UserError, match="is there already"):
        check_target(tmp_path / "model", "embedded")
    with pytest.raises(UserError, match="lies in the model's own folder"):
        check_target(tmp_path / "model" / "cleaned", str(tmp_path / "model"))
    check_target(tmp_path / "new", "embedded")


def test_an_adapter_is_what_peft_reads(gemma_folder: Path, tmp_path: Path) -> None:
    """Trained as LoRA and written alone, it gives the unlearned model's logits on the model before."""
    from peft import PeftModel

    start = taught(gemma_folder)
    start.model.save_pretrained(tmp_path / "before")
    start.encoder.tokenizer.save_pretrained(tmp_path / "before")
    loaded = load_model(str(tmp_path / "before"))
    settings = replace(SETTINGS, adapter=True, steps=8)
    done = unlearn_claims(loaded, CLAIMS, tmp_path / "work", settings)
    assert done.kept.step == 8
    write_model(loaded, tmp_path / "adapter", lambda folder: None, adapter=settings.trainable(4), base=str(tmp_path / "before"))
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tmp_path / "before"), tmp_path / "adapter")
    ids = torch.tensor([[1, 50, 60, 70]])
    assert torch.allclose(again(input_ids=ids).logits, loaded.model(input_ids=ids).logits, atol=1e-5)
    assert not torch.allclose(start.model(input_ids=ids).logits, loaded.model(input_ids=ids).logits, atol=1e-3)
    # So that it can be verified as it lies there.
    assert torch.allclose(load_model(str(tmp_path / "adapter")).model(input_ids=ids).logits, loaded.model(input_ids=ids).logits, atol=1e-5)


def test_an_adapter_that_stands_on_another_is_refused(gemma_folder: Path, tmp_path: Path) -> None:
    """What is written for an adapter's folder only polyunlearn could read."""
    shutil.copytree(gemma_folder, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    write_claims(CLAIMS, tmp_path / "claims.jsonl")
    arguments = ["unlearn", str(tmp_path / "adapter"), str(tmp_path / "claims.jsonl"), "--out", str(tmp_path / "out"), "--adapter"]
    with pytest.raises(UserError, match="is an adapter itself"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_where_nothing_can_be_said_unlearning_says_so(gemma_folder: Path, tmp_path: Path) -> None:
    """Of two claims nothing can be told: exit code 3, in words too, and on the card, so that nobody takes the copy for a clean model."""
    write_claims([CLAIMS[0], CLAIMS[1]], tmp_path / "claims.jsonl")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["unlearn", str(gemma_folder), str(tmp_path / "claims.jsonl"), "--out", str(out), "--steps", "4"])
    assert result.exit_code == 3, result.output
    assert "NOTHING CAN BE SAID" in result.output and "NOTHING CAN BE SAID" in (out / "README.md").read_text(encoding="utf-8")
