"""What leaves the layers of a model, watched or changed on the way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import PreTrainedModel

from polyunlearn.models.body import decoder_layers

Act = Callable[[int, Tensor], Tensor | None]
"""Told a layer's number, from 0, and the states that leave it; what it gives goes on in their place, and with None they do themselves."""


@contextmanager
def at_layers(model: PreTrainedModel, act: Act) -> Iterator[None]:
    """While `act` is called with the states (rows, tokens, width) of every layer as they leave it, before the next reads them."""

    def hook_of(number: int) -> Callable[..., object]:
        def hook(module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...] | None:
            changed = act(number, output if isinstance(output, Tensor) else output[0])
            return changed if changed is None or isinstance(output, Tensor) else (changed, *output[1:])

        return hook

    hooks = [layer.register_forward_hook(hook_of(number)) for number, layer in enumerate(decoder_layers(model))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
