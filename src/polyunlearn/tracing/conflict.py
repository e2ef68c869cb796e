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
    """Cosines by layer, None where a layer does not train: `between` the claims' gradients of two languages, the mean over pairs (None for one language), and
    `pairs` each of them, by both languages in either order; `against`, by language, of the claims' gradient and that of what must stay.

    All are gradients of log-probs. Unlearning goes down those of the claims: in two languages at once, so below 0 they are in conflict. It goes up that of what
    must stay, so above 0 it is in conflict with them.
    """

    between: tuple[float | None, ...]
    against: dict[str, tuple[float | None, ...]]
    pairs: dict[str, dict[str, tuple[float | None, ...]]]

    def pairs_within(self, first: int, end: int) -> dict[str, dict[str, float]]:
        """The mean of each pair over those of the layers `first` up to `end`, which is not one of them, that train; `RETAIN` is among the others. Empty where
        none does."""
        found = {}
        for tag in self.pairs:
            others = self.pairs[tag] | ({RETAIN: self.against[tag]} if tag in self.against else {})
            found[tag] = {
                other: fmean(there) for other, own in others.items() if (there := [one for one in own[first:end] if one is not None])
            }
        return {tag: own for tag, own in found.items() if own}


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
        {tag: {other: tuple(own.get((tag, other)) for own in cosines) for other in sketches if other != tag} for tag in sketches},
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
