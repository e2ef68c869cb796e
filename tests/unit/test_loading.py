"""Loading a model from a folder, and what is wrong with folders that hold none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from polyunlearn.bench.run import run_bench
from polyunlearn.errors import UserError
from polyunlearn.models import loading
from polyunlearn.models.body import decoder_layers
from polyunlearn.models.loading import load_model, training_dtype


@pytest.fixture
def copied(llama_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama that a test may spoil."""
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


def test_a_folder_is_loaded_ready_to_score(any_model_folder: Path) -> None:
    loaded = load_model(str(any_model_folder))
    assert loaded.name == str(any_model_folder)
    assert not loaded.model.training
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    # The output layer is the model's own weight, so that training moves both.
    assert loaded.head.weight is loaded.model.get_output_embeddings().weight


def test_the_same_weights_have_the_same_fingerprint(llama_folder: Path, gemma_folder: Path, copied: Path) -> None:
    """A copy elsewhere is the same model; another model is not, nor one with a single weight moved."""
    first = load_model(str(llama_folder))
    assert load_model(str(copied)).fingerprint == first.fingerprint
    assert load_model(str(gemma_folder)).fingerprint != first.fingerprint
    with torch.no_grad():
        first.model.get_input_embeddings().weight[0, 1] += 1
    first.model.save_pretrained(copied)
    assert load_model(str(copied)).fingerprint != load_model(str(llama_folder)).fingerprint


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder; give 'embedded', a folder, or a Hugging Face name"):
        load_model(str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["nothing", "./no/such", "~/model", "a/b/c", "../x"])
def test_what_is_no_name_is_told(name: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_model(name)


def test_a_folder_without_a_configuration_is_told(copied: Path) -> None:
    (copied / "config.json").unlink()
    with pytest.raises(UserError, match=r"holds no config\.json.*save_pretrained"):
        load_model(str(copied))


def test_a_folder_without_weights_is_told(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no safetensors weights"):
        load_model(str(copied))


def test_pickled_weights_are_not_read(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle can run code as it is read, so it must not even be opened."""
    state = load_model(str(copied)).model.state_dict()
    (copied / "model.safetensors").unlink()
    torch.save(state, copied / "pytorch_model.bin")

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(torch, "load", opened)
    with pytest.raises(UserError, match="pickled weights are not read"):
        load_model(str(copied))


def test_truncated_weights_are_told(copied: Path) -> None:
    """A copy that broke off: a user's matter, without a traceback."""
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="could not be loaded"):
        load_model(str(copied))


def test_weights_that_are_not_there_are_told(copied: Path) -> None:
    """They would be drawn at random, and an audit find nothing."""
    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 of the model's weights, such as model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(str(copied))


def test_a_model_that_packages_are_missing_for_is_told(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    quantised = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (copied / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    with pytest.raises(UserError, match="could not be loaded: "):
        load_model(str(copied))


def _adapter(base: Path, out: Path, **changes: object) -> str:
    """As PEFT saves one: without a tokeniser."""
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")).save_pretrained(out)
    config = out / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(base)} | changes))
    return str(out)


def test_an_adapter_has_the_tokeniser_of_its_base_where_it_has_none(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    loaded = load_model(_adapter(copied, tmp_path / "adapter"))
    assert not (tmp_path / "adapter" / "tokenizer_config.json").exists()
    assert loaded.encoder.tokenizer.get_vocab() == load_model(str(copied)).encoder.tokenizer.get_vocab()


def test_an_adapter_that_names_no_base_is_told(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(UserError, match="names no base_model_name_or_path"):
        load_model(_adapter(copied, tmp_path / "adapter", base_model_name_or_path=None))


def test_an_adapter_whose_base_is_gone_names_both(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    adapter = _adapter(copied, tmp_path / "adapter", base_model_name_or_path="/gone/base")
    with pytest.raises(UserError, match=f"^{adapter}: its adapter_config.json names '/gone/base'.*no such folder.*mend the name"):
        load_model(adapter)


def test_no_name_is_not_this_folder(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied)
    with pytest.raises(UserError, match="model '': no such folder"):
        load_model("")


def test_an_adapter_that_cannot_be_merged_is_told(copied: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(copied), config).save_pretrained(tmp_path / "prompt")
    with pytest.raises(UserError, match="of a kind that cannot be put into the weights"):
        load_model(str(tmp_path / "prompt"))


def test_a_damaged_configuration_is_told(copied: Path) -> None:
    (copied / "config.json").write_text("{")
    with pytest.raises(UserError, match="could not be loaded"):
        load_model(str(copied))


def test_an_error_that_says_nothing_is_told(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(loading.AutoTokenizer, "from_pretrained", fails)
    with pytest.raises(UserError, match="could not be loaded: OSError"):
        load_model(str(copied))


def test_a_tokenizer_without_an_end_token_is_told(copied: Path) -> None:
    tokenizer = load_model(str(copied)).encoder.tokenizer
    tokenizer.eos_token = None
    tokenizer.save_pretrained(copied)
    with pytest.raises(UserError, match=r"has no end token; set eos_token in its tokenizer_config\.json"):
        load_model(str(copied))


def test_bench_tells_a_model_that_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    for model, problem in (("nope", "model 'nope' could not be loaded"), (str(tmp_path), "has no num_hidden_layers")):
        with pytest.raises(UserError, match=problem):
            next(run_bench(model, "", str))


def test_a_name_that_the_hub_does_not_give_is_told() -> None:
    """Offline here, as it is with a typo online."""
    with pytest.raises(UserError, match="'nobody/no-such-model' could not be loaded"):
        load_model("nobody/no-such-model")


def test_the_embedded_model_is_fetched_and_named(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name in reports is the model's, not the folder of the cache."""
    monkeypatch.setattr(loading, "fetch_embedded", lambda say: llama_folder)
    assert load_model("embedded").name == "gemma-3-270m"


def test_what_else_runs_on_a_gpu_decides_nothing(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next to nothing of 80 GB is free: a study's precision is the same whichever of its processes begins first."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1, 80_000_000_000))
    config = AutoConfig.from_pretrained(llama_folder)
    assert loading._dtype(config, torch.device("cuda"), trust_remote_code=False)[0] == torch.float32


def test_a_gpu_holds_fp32_where_a_training_of_it_takes_half_its_memory_at_most() -> None:
    """268 million weights, 100 of them in layers, take 4 bytes each and 12 more where they train, 2.27 GB; eight billion that all train take 128 GB."""
    assert training_dtype(268_000_000, 100_000_000, 4_600_000_000)[0] == torch.float32
    assert training_dtype(268_000_000, 100_000_000, 4_500_000_000)[0] == torch.bfloat16
    dtype, reason = training_dtype(8_000_000_000, 8_000_000_000, 80_000_000_000)
    assert dtype == torch.bfloat16 and "128.0 of 80.0 GB" in reason


def test_weights_that_never_train_take_no_room_for_training(llama_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers alone train: of a GPU twice as large as that takes, fp32 fits, and of one byte less it does not."""
    config = AutoConfig.from_pretrained(llama_folder)
    model = load_model(str(llama_folder)).model
    layers = sum(own.numel() for own in decoder_layers(model).parameters())
    room = 2 * 4 * (model.num_parameters() + 3 * layers)
    assert layers < model.num_parameters()
    for memory, held in ((room, torch.float32), (room - 1, torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, memory=memory: (0, memory))
        assert loading._dtype(config, torch.device("cuda"), trust_remote_code=False)[0] == held
