"""Models that are computed here otherwise than they compute themselves are refused when they are loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import own_label_log_probs, sequences, sharp
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3_5TextConfig,
)

from polyunlearn.errors import UserError
from polyunlearn.models.agreement import check_agreement
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.loading import load_model, wrap_model
from polyunlearn.models.rows import TokenRow

SIZES: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
GATED: dict[str, Any] = {
    "num_key_value_heads": 2,
    "head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}


def drawn(config: PretrainedConfig, dtype: torch.dtype = torch.float32, attention: str = "sdpa") -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
    return model.eval()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(CohereConfig(**SIZES), id="a factor on the logits"),
        pytest.param(GraniteConfig(**SIZES, logits_scaling=8.0), id="a divisor of the logits"),
        pytest.param(GraniteConfig(**SIZES, embedding_multiplier=12.0), id="a factor on what enters the layers"),
        pytest.param(GPTNeoXConfig(**SIZES), id="a last norm of another name"),
        pytest.param(Qwen3_5TextConfig(**SIZES, **GATED), id="layers that carry a state"),
    ],
)
def test_what_is_computed_otherwise_is_refused(config: PretrainedConfig) -> None:
    model = drawn(config)
    with pytest.raises(UserError, match=rf"{type(model).__name__}: packed texts.*use a Llama-, Qwen- or Gemma-type model"):
        check_agreement(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layers", [1, 4])
def test_plain_attention_is_taken(layers: int, dtype: torch.dtype) -> None:
    check_agreement(drawn(LlamaConfig(**SIZES | {"num_hidden_layers": layers}), dtype))


def test_weights_of_16_bits_are_refused_beyond_their_rounding() -> None:
    with pytest.raises(UserError, match="CohereForCausalLM"):
        check_agreement(drawn(CohereConfig(**SIZES), torch.bfloat16))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_weights_that_tell_nothing_are_taken(value: float) -> None:
    """An output layer of zeros, or a model that training broke: all tokens are alike, or none has a number."""
    model = drawn(LlamaConfig(**SIZES, tie_word_embeddings=False))
    torch.nn.init.constant_(model.get_output_embeddings().weight, value)
    check_agreement(model)


def test_loading_and_wrapping_ask(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = drawn(CohereConfig(**SIZES))
    with pytest.raises(UserError, match="CohereForCausalLM"):
        wrap_model(model, tokenizer)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="CohereForCausalLM"):
        load_model(str(tmp_path))


@pytest.mark.parametrize("frozen", [0, 2])
def test_capped_attention_is_computed_eagerly(frozen: int, tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """A tiny Gemma 2, whose scores a cap of 0.5 holds down, on texts of up to three windows."""
    layers = ["sliding_attention", "full_attention"] * 2
    config = Gemma2Config(
        **SIZES,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=8,
        layer_types=layers,
        query_pre_attn_scalar=8,
        attn_logit_softcapping=0.5,
    )
    model = drawn(config, attention="eager")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    wrap_model(model, tokenizer)
    loaded, batch = sharp(tmp_path, frozen), sequences(1, 24, 3, 17)
    with torch.no_grad():
        found = label_log_probs(loaded.body, loaded.head, batch)
    for sequence, log_probs in zip(batch, found, strict=True):
        torch.testing.assert_close(log_probs, own_label_log_probs(loaded, sequence), atol=2e-4, rtol=1e-5)


def test_attention_of_another_kind_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(UserError, match="LlamaForCausalLM: load it with attn_implementation='sdpa'"):
        wrap_model(drawn(LlamaConfig(**SIZES), attention="eager"), tokenizer)


def test_asking_leaves_no_trace(any_model_folder: Path) -> None:
    """Neither random numbers nor weights nor settings of the model are others after it."""
    model = load_model(str(any_model_folder)).model
    before = {name: value.clone() for name, value in model.state_dict().items()}, model.config.to_dict(), torch.get_rng_state()
    check_agreement(model)
    assert model.config.to_dict() == before[1] and torch.equal(torch.get_rng_state(), before[2])
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())


_DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10_000.0}
_LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [2.0] * 4,
    "rope_theta": 10_000.0,
    "original_max_position_embeddings": 8,
}


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=8), id="a window that no layer is named for"),
        pytest.param(
            LlamaConfig(**SIZES | {"max_position_embeddings": 8}, rope_parameters=_DYNAMIC), id="positions scaled by the longest text"
        ),
        pytest.param(LlamaConfig(**SIZES, rope_parameters=_LONG), id="positions scaled beyond a length"),
    ],
)
def test_a_text_that_would_be_computed_otherwise_is_refused(config: PretrainedConfig) -> None:
    """Eight tokens are computed as the model does, and nine would not be: beside shorter texts, alone, or with a layer frozen."""
    model = drawn(config)
    check_agreement(model)
    (short, long) = (TokenRow.plain(tuple(range(count))) for count in (8, 9))
    for body in (Body(model), Body(model, 1)):
        wanted = torch.log_softmax(model(input_ids=torch.tensor([short.ids])).logits[0], 1)
        found = torch.log_softmax(OutputHead.of(model).logits(body.packed([short, short])[:8]), 1)
        assert torch.allclose(found, wanted, atol=1e-4)
        with pytest.raises(UserError, match="a text of 9 tokens, and beyond 8 this model is computed in a way that is not supported"):
            body.packed([short, long])
