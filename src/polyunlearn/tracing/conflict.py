"""Gradient conflict, layer by layer: whether unlearning in one language works in another, and against what must stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import fmean

import torch
from torch import Tensor, nn

from polyunlearn.models.batching import packs
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.tracing.coverage import SEED, inner_products, sketch
from polyunlearn.tracing.patching import layer_of

BUCKETS = 2**16
"""Numbers that a layer's gradient is sketched into: a cosine is then off by no more than a standard error of sqrt(2 / 2^16) = 0.0055, and 18 layers
of ten gradients take 47 MB."""

RETAIN = "retain"


@dataclass(frozen=True)
class Conflict:
    """Cosines by layer, None where a layer does not train: `between` the claims' gradients of two languages, the mean over pairs (None for one language);
    `against`, by language, of the claims' gradient and that of what must stay.

    Both are gradients of log-probs. Unlearning goes down the first while retaining goes up the second, so above 0 they are in conflict.
    """

    between: tuple[float | None, ...]
    against: dict[str, tuple[float | None, ...]]


def conflict(
    body: Body,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    claims: Mapping[str, Sequence[TokenSequence]],
    retained: Sequence[TokenSequence],
    layers: int,
) -> Conflict:
    """The conflict in a model of so many layers, from a pass forward and back over every sequence. `against` is empty where nothing is retained."""
    sketches = {tag: layer_sketches(body, head, parameters, own) for tag, own in claims.items()}
    kept = {RETAIN: layer_sketches(body, head, parameters, retained)} if retained else {}
    cosines = [_cosines({tag: own[layer] for tag, own in (sketches | kept).items() if layer in own}) for layer in range(layers)]
    pairs = list(combinations(sketches, 2))
    return Conflict(
        tuple(fmean(own[pair] for pair in pairs) if own and pairs else None for own in cosines),
        {tag: tuple(own.get((tag, RETAIN)) for own in cosines) for tag in sketches if retained},
    )


def layer_sketches(
    body: Body, head: OutputHead, parameters: Mapping[str, nn.Parameter], sequences: Sequence[TokenSequence], buckets: int = BUCKETS
) -> dict[int, Tensor]:
    """Of every layer that trains the gradient of the summed log-prob of the labels, sketched as `tracing.coverage.sketch` does; `.grad` is empty
    afterwards."""
    for batch in packs([len(own.ids) for own in sequences]):
        torch.cat(label_log_probs(body, head, [sequences[index] for index in batch])).sum().backward()  # type: ignore[no-untyped-call]
    gradients: dict[int, list[Tensor]] = {}
    for name in sorted(parameters):
        layer, own = layer_of(name), parameters[name].grad
        if layer is not None and own is not None:
            gradients.setdefault(layer, []).append(own)
        parameters[name].grad = None
    # One seed a layer, shared by all that are compared.
    return {layer: sketch(own, buckets, torch.Generator().manual_seed(SEED + layer)) for layer, own in gradients.items()}


def _cosines(sketches: Mapping[str, Tensor]) -> dict[tuple[str, str], float]:
    products = inner_products(sketches)
    lengths = {tag: sqrt(products[tag, tag]) for tag in sketches}
    return {
        (one, other): own / (lengths[one] * lengths[other]) if lengths[one] * lengths[other] > 0 else 0.0
        for (one, other), own in products.items()
    }
