"""Loading a causal language model: the embedded one, a folder, or a Hugging Face name."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from polyunlearn.errors import UserError, first_line
from polyunlearn.models.agreement import check_agreement
from polyunlearn.models.body import Body, attention_of, decoder_layers
from polyunlearn.models.embedded import NAME, fetch_embedded
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.sequences import Encoder

EMBEDDED = "embedded"
"""The name under which a study asks for the embedded model."""


@dataclass
class LoadedModel:
    """A model ready to train and to score, with its tokeniser's encoder and its whole output layer."""

    name: str
    model: PreTrainedModel
    encoder: Encoder
    body: Body
    head: OutputHead
    fingerprint: str
    device_reason: str


def load_model(
    name: str, *, frozen_layers: int = 0, trust_remote_code: bool = False, say: Callable[[str], None] = lambda text: None
) -> LoadedModel:
    """Load `name`: "embedded", a local folder with safetensors, one with a PEFT adapter, or a Hugging Face model name.

    Weights are fp32 on a CPU, and on a GPU that holds a training of them; bf16 on one that does not (`_dtype`). They are read from
    safetensors only. `frozen_layers` is how many layers, from the first, will not be trained.

    Raises:
        UserError: where there is no such model, it holds no safetensors weights or not all of them, or its kind is computed otherwise (`check_agreement`).
    """
    source, device = source_of(name, say), _device()
    with _explained(name):
        model, reason = _read(source, device, trust_remote_code)
        tokenizer = AutoTokenizer.from_pretrained(_tokenizer_source(source), trust_remote_code=trust_remote_code)
    model.to(device).eval()
    check_agreement(model)
    label = NAME if name == EMBEDDED else name
    return LoadedModel(label, model, Encoder(tokenizer), Body(model, frozen_layers), OutputHead.of(model), fingerprint_of(model), reason)


def read_model(name: str) -> PreTrainedModel:
    """The model alone, as `load_model` finds its weights, but in the CPU's memory; raises `UserError` as that does."""
    source = source_of(name)
    with _explained(name):
        return _read(source, _device(), trust_remote_code=False)[0]


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def source_of(name: str, say: Callable[[str], None] = lambda text: None) -> str:
    """What transformers loads for a name: the whole path of a folder, which is looked at, or the name of a model on the hub; raises `UserError`."""
    folder = fetch_embedded(say) if name == EMBEDDED else Path(name or "no name")
    if folder.is_dir():
        _check_folder(folder)
        return str(folder.resolve())
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return name
    raise UserError(f"model {name!r}: no such folder; give {EMBEDDED!r}, a folder, or a Hugging Face name such as org/model")


def _read(source: str, device: torch.device, trust_remote_code: bool) -> tuple[PreTrainedModel, str]:
    """The model in the precision that `device` has it in, not there yet, and why in that one; an adapter is put into the weights of its base."""
    if is_adapter(source):
        model, reason = _read(_base_of(source), device, trust_remote_code)
        return _with_adapter(model, source), reason
    config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    dtype, reason = _dtype(config, device, trust_remote_code)
    model, found = AutoModelForCausalLM.from_pretrained(
        source,
        dtype=dtype,
        use_safetensors=True,
        attn_implementation=attention_of(config),
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
    )
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"{source}: lacks {len(missing)} of the model's weights, such as {missing[0]}, which would be drawn at random; save the model anew"
        )
    return model, reason


def is_adapter(folder: str) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (Path(folder) / "adapter_config.json").is_file()


def _base_of(adapter: str) -> str:
    base = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UserError(f"{adapter}: its adapter_config.json names no base_model_name_or_path; write there what model the adapter is for")
    try:
        return source_of(base)
    except UserError as error:
        raise UserError(
            f"{adapter}: its adapter_config.json names {base!r} as base_model_name_or_path, where no model can be loaded ({error}); put the model there, or mend the name"
        ) from error


def _tokenizer_source(source: str) -> str:
    """Where the tokeniser is: PEFT saves an adapter without one, and then it is its base's."""
    has_own = not is_adapter(source) or (Path(source) / "tokenizer_config.json").is_file()
    return source if has_own else _tokenizer_source(_base_of(source))


def _with_adapter(model: PreTrainedModel, folder: str) -> PreTrainedModel:
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UserError(f"{folder}: is an adapter, which needs the package peft; install it with: pip install peft") from error
    adapted = PeftModel.from_pretrained(model, folder)
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise UserError(f"{folder}: is an adapter of a kind that cannot be put into the weights of its base; give a LoRA or one like it")
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """A model that cannot be loaded is a user's matter, whatever transformers and the packages behind it raise: quantised folders ask for packages that are not
    there, adapters for weights of other sizes."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, SafetensorError, ImportError, LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise UserError(f"model {name!r} could not be loaded: {first_line(error)}") from error


def wrap_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str = "") -> LoadedModel:
    """A model that is in memory already, as `load_model` gives it; its own weights, not a copy."""
    wanted = attention_of(model.config)
    if getattr(model.config, "_attn_implementation", wanted) != wanted:
        raise UserError(
            f"{type(model).__name__}: load it with attn_implementation={wanted!r}; other kinds of attention read masks otherwise"
        )
    model.eval()
    check_agreement(model)
    label = name or model.name_or_path or type(model).__name__
    return LoadedModel(label, model, Encoder(tokenizer), Body(model, 0), OutputHead.of(model), fingerprint_of(model), f"on {model.device}")


def _check_folder(folder: Path) -> None:
    if not any((folder / own).is_file() for own in ("config.json", "adapter_config.json")):
        raise UserError(f"{folder}: holds no config.json, so it is not a model folder; give one saved with save_pretrained")
    if not list(folder.glob("*.safetensors")):
        raise UserError(f"{folder}: holds no safetensors weights; save the model there with save_pretrained (pickled weights are not read)")


def _dtype(config: PretrainedConfig, device: torch.device, trust_remote_code: bool) -> tuple[torch.dtype, str]:
    """In what the weights of a model are held on `device`, and why, in words."""
    if device.type == "cpu":
        return torch.float32, "no CUDA device: fp32 on the CPU"
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
        trained = sum(own.numel() for layer in decoder_layers(model) for own in layer.parameters())
    return training_dtype(model.num_parameters(), trained, torch.cuda.mem_get_info(device)[1])


def training_dtype(parameters: int, trained: int, memory: int) -> tuple[torch.dtype, str]:
    """fp32 where the weights, and the gradients and AdamW's two moments of those `trained`, take at most half of a device's bytes of memory, else bf16; and why.

    Of all its memory, not of what is free: a study must go on as it began, whatever else runs there.
    """
    needed = 4 * (parameters + 3 * trained)
    gigabytes = f"{needed / 1e9:.1f} of {memory / 1e9:.1f} GB"
    if needed <= memory / 2:
        return torch.float32, f"a CUDA device with room: fp32 (training every layer takes {gigabytes})"
    return torch.bfloat16, f"a CUDA device: bf16 weights, fp32 log-probs and optimiser (training every layer in fp32 takes {gigabytes})"


_HASHED_AT_ONCE = 2**24
"""Weights of which a copy in fp32 is held at a time."""


def fingerprint_of(model: PreTrainedModel) -> str:
    """A short hash that tells the weights of two models apart, whatever type they are held in: every tensor's name, shape and values."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        for part in parameter.flatten().split(_HASHED_AT_ONCE):
            digest.update(part.float().cpu().numpy().data)
    return digest.hexdigest()[:16]
