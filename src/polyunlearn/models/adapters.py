"""Low-rank adapters of languages beside the weights that train, of which one language's is in at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

Pair = tuple[nn.Parameter, nn.Parameter]
"""A (rank, inputs) and B (outputs, rank)."""


class LanguageAdapters:
    r"""For each language an adapter on every linear layer of the decoder whose weight is among `weights`: :math:`W x + \frac{\alpha}{r} B_l A_l x` (LoRA,
    arXiv 2106.09685).

    They add nothing until they are trained, and all begin alike, so that what tells them apart is what their languages taught them. They are no part of the
    model: nothing but `of` puts one in.
    """

    def __init__(
        self, model: nn.Module, weights: Mapping[str, nn.Parameter], languages: Iterable[str], *, rank: int, alpha: float, seed: int
    ):
        self._scale = alpha / rank
        # The output layer is read past its module (`models.forward`), so nothing beside it would be seen.
        self._beside = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and ".layers." in name and f"{name}.weight" in weights
        }
        self._pairs: dict[str, dict[str, Pair]] = {}
        for language in sorted(set(languages)):
            generator = torch.Generator().manual_seed(seed)
            self._pairs[language] = {name: _pair(module, rank, generator) for name, module in self._beside.items()}

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What trains, by name."""
        return {
            f"{language} {name}.{part}": weight
            for language, pairs in self._pairs.items()
            for name, pair in pairs.items()
            for part, weight in zip("AB", pair, strict=True)
        }

    @contextmanager
    def of(self, language: str) -> Iterator[None]:
        """While the adapter of this language is in, if it has one."""
        pairs = self._pairs.get(language, {})
        hooks = [self._beside[name].register_forward_hook(self._adding(pair)) for name, pair in pairs.items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def merge(self) -> None:
        r"""Add the mean of the adapters to the weights that they stand beside: :math:`W + \frac{\alpha}{rL} \sum_l B_l A_l`."""
        for name, module in self._beside.items():
            for down, up in (pairs[name] for pairs in self._pairs.values()):
                module.weight.addmm_(up, down, alpha=self._scale / len(self._pairs))

    def _adding(self, pair: Pair) -> Callable[..., Tensor]:
        down, up = pair

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + self._scale * linear(linear(inputs[0], down), up)

        return hook


def _pair(module: nn.Linear, rank: int, generator: torch.Generator) -> Pair:
    """A as a linear layer begins, B of zeros."""
    bound = module.in_features**-0.5
    drawn = torch.empty(rank, module.in_features).uniform_(-bound, bound, generator=generator)
    down = nn.Parameter(drawn.to(module.weight))
    return down, nn.Parameter(down.new_zeros(module.out_features, rank))
