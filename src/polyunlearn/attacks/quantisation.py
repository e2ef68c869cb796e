"""Quantisation: the weights rounded to few bits, as a model is to run on small machines. What unlearning moved by less than a step comes back."""

from functools import partial

import torch
from torch import Tensor

from polyunlearn.attacks.matrices import measure_changed
from polyunlearn.attacks.target import Measure, Target, Variant

VARIANTS = ((8, None), (4, None), (4, 64), (3, 64))
"""Bits, and how many weights of a row share a scale; None is the whole row."""


def quantised(weight: Tensor, bits: int, group: int | None = None) -> Tensor:
    r"""A matrix (outputs, inputs) rounded to nearest on a symmetric grid, and back to its type.

    .. math:: s = \max |w| / (2^{b-1} - 1), \quad w \leftarrow s \, \mathrm{round}(w / s)

    The scale s is that of a row, or of each `group` weights of it, the last of which may be fewer. Raises `ValueError` for fewer than two bits.
    """
    if bits < 2:
        raise ValueError(f"a symmetric grid needs two bits or more, not {bits}")
    steps = 2 ** (bits - 1) - 1
    parts = []
    for part in torch.split(weight.float(), group or weight.shape[1], dim=1):
        scale = (part.abs().amax(dim=1, keepdim=True) / steps).clamp(min=torch.finfo(torch.float32).tiny)
        parts.append(torch.round(part / scale) * scale)
    return torch.cat(parts, dim=1).to(weight.dtype)


def quantisation(target: Target, measure: Measure) -> None:
    """Round every matrix of every layer; embeddings and norms stay, as they do in the usual recipes."""
    measure_changed(
        target,
        measure,
        [
            (Variant(f"{bits} bits, {f'groups of {group}' if group else 'a row'}", bits), partial(quantised, bits=bits, group=group))
            for bits, group in VARIANTS
        ],
    )
