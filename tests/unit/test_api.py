"""Audits and unlearning from Python, on a model that its owner holds and goes on with."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from handmade_claims import CLAIMS, SETTINGS, taught
from tiny import sharp
from transformers import AutoTokenizer

import polyunlearn.cli.claims  # noqa: F401 — adds its commands
from polyunlearn import api
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.plan import Settings
from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.loading import wrap_model


def test_a_model_in_memory_with_adapters_is_not_unlearned(gemma_folder: Path) -> None:
    """Its weights would be, and `save_pretrained` would write the adapters alone."""
    from peft import LoraConfig

    loaded = sharp(gemma_folder)
    loaded.model.add_adapter(LoraConfig(target_modules=["q_proj"]))
    with pytest.raises(UserError, match="has adapters, beside which"):
        api.unlearn(loaded.model, loaded.encoder.tokenizer, CLAIMS, SETTINGS)


def test_an_owners_random_numbers_go_on_as_they_would(gemma_folder: Path) -> None:
    loaded = taught(gemma_folder)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    api.unlearn(loaded.model, loaded.encoder.tokenizer, CLAIMS, replace(SETTINGS, steps=3, measure_every=3))
    assert torch.equal(torch.rand(3), wanted)


def test_gradients_of_the_user_count_for_nothing_and_stay(gemma_folder: Path) -> None:
    """A model with gradients left in it is unlearned to the same weights as one without."""
    tokenizer = AutoTokenizer.from_pretrained(gemma_folder)
    models = [taught(gemma_folder).model for _ in range(2)]
    for own in models[1].parameters():
        own.grad = torch.ones_like(own)
    asking = Asking(max_new_tokens=0)
    audits = [api.audit(model, tokenizer, CLAIMS, asking) for model in models]
    assert audits[0] == audits[1] and all(own.grad is not None and own.grad.min() == 1 for own in models[1].parameters())
    done = [api.unlearn(model, tokenizer, CLAIMS, replace(SETTINGS, steps=8)).after.fingerprint for model in models]
    assert done[0] == done[1] != audits[0].fingerprint


def test_a_model_in_memory_is_audited_as_one_from_disk(gemma_folder: Path) -> None:
    loaded = taught(gemma_folder)
    wrapped = wrap_model(loaded.model, loaded.encoder.tokenizer)
    asking = Asking(max_new_tokens=0)
    one = audit_claims(replace(loaded, body=Body(loaded.model, 0)), CLAIMS, asking)
    assert audit_claims(wrapped, CLAIMS, asking).findings == one.findings


def test_from_python_a_model_is_left_in_the_mode_it_was_in(gemma_folder: Path) -> None:
    """Half of its weights train and it is in training mode but for a layer, before and after each call; unlearning moves weights, the others none."""
    model = taught(gemma_folder).model
    tokenizer = AutoTokenizer.from_pretrained(gemma_folder)
    for number, own in enumerate(model.parameters()):
        own.requires_grad_(number % 2 == 0)
    model.train()
    model.base_model.layers[0].eval()
    trains = [own.requires_grad for own in model.parameters()]
    asking = Asking(max_new_tokens=0)
    before = api.audit(model, tokenizer, CLAIMS, asking)
    done = api.unlearn(model, tokenizer, CLAIMS, replace(SETTINGS, steps=8))
    assert done.before.findings[0].edge == pytest.approx(before.findings[0].edge, abs=1e-4)
    assert api.verify(model, tokenizer, CLAIMS, before, [], asking).after.fingerprint == done.after.fingerprint
    assert model.training and [own.requires_grad for own in model.parameters()] == trains
    assert not model.base_model.layers[0].training and model.base_model.layers[1].training
    with pytest.raises(UserError, match="polyunlearn unlearn --adapter"):
        api.unlearn(model, tokenizer, CLAIMS, Settings(adapter=True))
