"""Quantisation: the weights rounded to few bits, as a model is to run on small machines. What unlearning moved by less than a step comes back."""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from polyunlearn.attacks.matrices import measure_changed
from polyunlearn.attacks.target import Measure, Target, Variant

VARIANTS = ((8, None), (4, None), (4, 64), (3, 64))
"""Bits of symmetric grids, and how many weights of a row share a scale; None is the whole row."""

NF4_GROUP = 64
"""How many weights of a row share a scale of NF4."""


def quantised(weight: Tensor, bits: int, group: int | None = None) -> Tensor:
    r"""A matrix (outputs, inputs) rounded to nearest on a symmetric grid, and back to its type.

    .. math:: s = \max |w| / (2^{b-1} - 1), \quad w \leftarrow s \, \mathrm{round}(w / s)

    The scale s is that of a row, or of each `group` weights of it, the last of which may be fewer. Raises `ValueError` for fewer than two bits.
    """
    if bits < 2:
        raise ValueError(f"a symmetric grid needs two bits or more, not {bits}")
    steps = 2 ** (bits - 1) - 1

    def rounded(part: Tensor) -> Tensor:
        scale = _scale(part, steps)
        return torch.round(part / scale) * scale

    return _by_group(weight, group, rounded)


def nf4(weight: Tensor) -> Tensor:
    """A matrix (outputs, inputs) rounded to the nearest level of `nf4_levels`, times the largest weight of each `NF4_GROUP` of a row, and back to its type.

    Dettmers et al., arXiv 2305.14314 (QLoRA), whose scales are rounded too; here they are not.
    """
    levels = nf4_levels().to(weight.device)
    between = (levels[1:] + levels[:-1]) / 2

    def rounded(part: Tensor) -> Tensor:
        scale = _scale(part)
        return levels[torch.bucketize(part / scale, between)] * scale

    return _by_group(weight, NF4_GROUP, rounded)


@cache
def nf4_levels() -> Tensor:
    r"""The 16 levels (16,) of NF4 from -1 to 1, fp32: quantiles of the normal distribution, so that normal weights use each about as often.

    Eight above 0, seven below and 0 itself: the quantiles of probabilities evenly spaced from :math:`\delta` to 1/2, which is left out, and from 1/2 to
    :math:`1 - \delta`, each side divided by its largest, with :math:`\delta = (1/32 + 1/30) / 2` (arXiv 2305.14314).
    """
    delta = (1 / 32 + 1 / 30) / 2
    above, below = (torch.special.ndtri(torch.linspace(1 - delta, 0.5, count + 1, dtype=torch.float64)[:-1]) for count in (8, 7))
    levels = torch.cat([-below / below[0], torch.zeros(1, dtype=torch.float64), (above / above[0]).flip(0)])
    return levels.float()


def _by_group(weight: Tensor, group: int | None, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """A matrix with each `group` weights of its rows, the last of which may be fewer, as `rounded` makes them of their fp32 values."""
    parts = [rounded(part) for part in torch.split(weight.float(), group or weight.shape[1], dim=1)]
    return torch.cat(parts, dim=1).to(weight.dtype)


def _scale(part: Tensor, steps: int = 1) -> Tensor:
    """Of each row (rows, 1) its largest size, in steps of a grid; above 0 also where all are 0."""
    return (part.abs().amax(dim=1, keepdim=True) / steps).clamp(min=torch.finfo(torch.float32).tiny)


def quantisation(target: Target, measure: Measure) -> None:
    """Round every matrix of every layer; embeddings and norms stay, as they do in the usual recipes."""
    grids = [
        (Variant(f"{bits} bits, {f'groups of {group}' if group else 'a row'}", bits), partial(quantised, bits=bits, group=group))
        for bits, group in VARIANTS
    ]
    measure_changed(target, measure, [*grids, (Variant(f"4 bits, NF4, groups of {NF4_GROUP}", 4), nf4)])
