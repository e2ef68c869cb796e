"""Which weights train: the body, some of its layers, low-rank adapters on them, or everything."""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.files import atomic_path
from polyunlearn.models.body import decoder_layers


@dataclass(frozen=True)
class TrainablePlan:
    """What training may move.

    `weights` is "body" (every layer, not the embeddings), "lora" (adapters on every linear layer of the body) or "all";
    layers before `from_layer` stay as they are. `rank` and `alpha` are LoRA's (arXiv 2106.09685): the update is (alpha / rank) B A.
    """

    weights: Literal["body", "lora", "all"] = "body"
    from_layer: int = 0
    rank: int = 16
    alpha: int = 32


def has_adapters(model: PreTrainedModel) -> bool:
    """Whether low-rank adapters stand in the model beside its weights."""
    return any(".lora_" in name for name, _ in model.named_parameters())


def make_trainable(model: PreTrainedModel, plan: TrainablePlan, seed: int = 0) -> dict[str, nn.Parameter]:
    """Freeze everything, then free (or add) the plan's weights; returns them by name.

    Adapters are initialised from `seed` and change nothing until they are trained. Raises `UserError` where the model has no such layer, or holds weights
    that cannot train.
    """
    layers = decoder_layers(model)
    check_layer(model, plan.from_layer)
    if plan.weights != "lora":
        check_weights(model)
    model.requires_grad_(plan.weights == "all")
    if plan.weights == "lora":
        _add_adapters(model, plan, seed)
    elif plan.weights == "body":
        for layer in layers[plan.from_layer :]:
            layer.requires_grad_(True)
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def check_layer(model: PreTrainedModel, layer: int) -> None:
    """Raise `UserError` where the model has no such layer to train from."""
    count = len(decoder_layers(model))
    if not 0 <= layer < count:
        raise UserError(f"from_layer {layer}: the model has layers 0 to {count - 1}")


def check_weights(model: PreTrainedModel) -> None:
    """Raise `UserError` where the model's layers hold weights that are no floating-point numbers, as quantised ones do."""
    held = next((own.dtype for own in decoder_layers(model).parameters() if not own.dtype.is_floating_point), None)
    if held is not None:
        raise UserError(
            f"{type(model).__name__}: holds weights in {str(held).removeprefix('torch.')}, which cannot train; load it without quantisation"
        )


def train_band(parameters: Mapping[str, nn.Parameter], first: int, end: int | None = None) -> dict[str, nn.Parameter]:
    """Let train, among `parameters`, those of layers from `first` on, up to `end` where it is given, which does not (and those of no layer);
    returns them by name."""
    chosen = {}
    for name, parameter in parameters.items():
        number = re.search(r"\blayers\.(\d+)\.", name)
        parameter.requires_grad_(number is None or (int(number[1]) >= first and (end is None or int(number[1]) < end)))
        if parameter.requires_grad:
            chosen[name] = parameter
    return chosen


def _add_adapters(model: PreTrainedModel, plan: TrainablePlan, seed: int) -> None:
    try:
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise UserError("adapters need the package peft; install it with: pip install peft") from error

    config = _adapter_config(model, plan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def _adapter_config(model: PreTrainedModel, plan: TrainablePlan, base: str | None = None) -> Any:
    from peft import LoraConfig

    layers = range(plan.from_layer, len(decoder_layers(model)))
    linear = (name for name, module in decoder_layers(model).named_modules() if isinstance(module, nn.Linear))
    names = {name.removesuffix(".base_layer").rsplit(".", 1)[-1] for name in linear if ".lora_" not in name}
    return LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        target_modules=sorted(names),
        layers_to_transform=list(layers),
        base_model_name_or_path=base,
        task_type="CAUSAL_LM",
    )


def write_adapter(model: PreTrainedModel, plan: TrainablePlan, folder: Path, base: str) -> None:
    """Write the adapters that `make_trainable` put into the model as PEFT reads them: `PeftModel.from_pretrained(base, folder)`."""
    config = _adapter_config(model, plan, base)
    config.inference_mode = True
    config.save_pretrained(folder)
    state = {f"base_model.model.{name.replace('.default.', '.')}": own for name, own in model.state_dict().items() if ".lora_" in name}
    save_state({name: own.cpu().contiguous() for name, own in state.items()}, folder / "adapter_model.safetensors")


def snapshot(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """A copy of the trainable weights as they are now."""
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@torch.no_grad()
def restore(parameters: Mapping[str, nn.Parameter], state: Mapping[str, Tensor]) -> None:
    """Write a snapshot back; raises `ValueError` where it is not one of these parameters."""
    if parameters.keys() != state.keys():
        raise ValueError("the saved state holds other weights than those that train")
    for name, parameter in parameters.items():
        parameter.copy_(state[name])


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Write a snapshot as safetensors, atomically."""
    with atomic_path(path) as temporary, as_os_error():
        save_file(dict(state), temporary)


@contextmanager
def as_os_error() -> Iterator[None]:
    """What safetensors raises where it cannot write, as the `OSError` that it was: it hides the operating system's error number in its text."""
    try:
        yield
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        raise OSError(int(code[1]) if code else errno.EIO, str(error)) from error


def load_state(path: Path) -> dict[str, Tensor]:
    """Read a snapshot written by `save_state`."""
    return load_file(path)
