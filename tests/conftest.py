"""Tiny models that need no download: a byte-level tokeniser trained on the newsroom and random weights."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests set what models give beside tensors made here; on a GPU these would be in another memory, and rounding another.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import hypothesis
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.models.loading import LoadedModel, load_model

VOCABULARY = 600

# The machine may be busy; time is measured in benchmarks, not here.
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokeniser that writes every script."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    texts = [sentence for story in generate_stories(4) for edition in story.editions.values() for sentence in edition.article]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def _save(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gemma_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four Gemma 3 layers, sliding (window 8) and full in turn, tied embeddings."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"] * 2, max_position_embeddings=512,
        query_pre_attn_scalar=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return _save(Gemma3ForCausalLM(config), tokenizer, tmp_path_factory.mktemp("gemma"))


@pytest.fixture(scope="session")
def llama_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three Llama layers, full attention, an output layer of its own."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=512, tie_word_embeddings=False, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return _save(LlamaForCausalLM(config), tokenizer, tmp_path_factory.mktemp("llama"))


@pytest.fixture
def gemma(gemma_folder: Path) -> LoadedModel:
    """The tiny Gemma, loaded anew for each test."""
    return load_model(str(gemma_folder))


@pytest.fixture(params=["gemma", "llama"])
def any_model_folder(request: pytest.FixtureRequest) -> Path:
    """Each tiny architecture in turn."""
    folder: Path = request.getfixturevalue(f"{request.param}_folder")
    return folder
