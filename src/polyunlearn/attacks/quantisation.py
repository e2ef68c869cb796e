"""Quantisation: the weights rounded to few bits, as a model is to run on small machines. What unlearning moved by less than a step comes back."""

import torch
from torch import Tensor, nn

from polyunlearn.attacks.target import Measure, Target, Variant
from polyunlearn.models.body import decoder_layers
from polyunlearn.scoring.measure import ranked_questions

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


@torch.no_grad()
def quantisation(target: Target, measure: Measure) -> None:
    """Round every matrix of every layer; embeddings and norms stay, as they do in the usual recipes."""
    matrices = [module for module in decoder_layers(target.whole.model).modules() if isinstance(module, nn.Linear)]
    before = [module.weight.detach().clone() for module in matrices]
    questions = ranked_questions(target.probes, target.whole.encoder)
    for bits, group in VARIANTS:
        for module, weight in zip(matrices, before, strict=True):
            module.weight.copy_(quantised(weight, bits, group))
        scope = f"groups of {group}" if group else "a row"
        measure(Variant(f"{bits} bits, {scope}", bits), target.whole, target.probes, questions)
    for module, weight in zip(matrices, before, strict=True):
        module.weight.copy_(weight)
