"""Which layers to train: the shares that layers have in the claims, and the band that holds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.tracing.conflict import RETAIN, Conflict
from polyunlearn.tracing.similarity import Alike

HOLDS = 0.8
"""The share of what layers do for the claims that the band must hold. What is over spreads thinly, so that a tenth more would take in every layer that
training touched: of nine layers with even shares eight hold 0.8."""

SHARED = 0.9
"""How much meaning, as a share of the layer where it is largest, the languages must share below the band for it to be extended there."""

Curves = Mapping[str, Sequence[float]]
"""By language, a value a layer."""


@dataclass(frozen=True)
class LayerPlan:
    """The band to train, layers `from_layer` up to `to_layer`, which is not one of them, in a model of `layers`, and why, in sentences.

    `core` is the band that holds `HOLDS` of the layers' `shares`, before it was extended downwards; None where nothing was found, and all layers train.
    `gone` is the share of the claims' rise that is gone where the core has the weights of the model before; None where that was not tried.
    """

    from_layer: int
    to_layer: int
    layers: int
    core: tuple[int, int] | None
    shares: tuple[float, ...]
    measure: Literal["patching", "lens"]
    gone: float | None
    reasons: tuple[str, ...]

    @property
    def overrides(self) -> str:
        """The band as a study takes it."""
        return f"--set unlearning.from_layer={self.from_layer} --set unlearning.to_layer={self.to_layer}"

    def checked(self, gone: float) -> "LayerPlan":
        """The same with the share of the rise that goes with the core's weights."""
        assert self.core
        said = f"With {_layers(*self.core)} put back to the weights of the model before, {gone:.0%} of the rise is gone."
        return replace(self, gone=gone, reasons=(*self.reasons, said))


def patched_shares(brought: Curves, lost: Curves) -> list[float]:
    r"""Each layer's share in what learning added, the mean over languages; they add up to 1 where only layers differ. Empty for no language.

    .. math:: s_l = \tfrac{1}{2} [(b_l - b_{l-1}) + (v_l - v_{l-1})]

    Layers get the learned weights one after the other: :math:`b_l - b_{l-1}` is what layer l adds where those below are learned and those above are
    not, :math:`v_l - v_{l-1}` where those above are and those below are not. The mean over these two opposite orders is the estimate of the
    Shapley value from a permutation and its reverse (Mitchell et al., arXiv 2104.12199): one order alone gives what layers do together to the last
    of them, or to the first.
    """
    if not brought:
        return []
    steps = [[_rises(own) for own in curves.values()] for curves in (brought, lost)]
    return [fmean([*one, *other]) for one, other in zip(zip(*steps[0], strict=True), zip(*steps[1], strict=True), strict=True)]


def lens_shares(lens: Mapping[str, Sequence[Estimate]]) -> list[float]:
    """The share of each layer in the rise of the lens's edge, the mean over the languages whose edge at the last layer lies above 0; falls count as
    nothing. Empty for no language."""
    found = []
    for own in lens.values():
        if own[-1].low > 0:
            rises = [max(0.0, step) for step in _rises([layer.mean for layer in own])]
            found.append([step / sum(rises) for step in rises])
    return [fmean(own) for own in zip(*found, strict=True)]


def smallest_band(shares: Sequence[float], holds: float = HOLDS) -> tuple[int, int] | None:
    """The fewest layers in a row, [first, end), that hold this share of all that is above 0; of bands of one size that which holds most, then the lowest.
    None where no share is above 0."""
    positive = [max(0.0, own) for own in shares]
    whole = sum(positive)
    if whole <= 0:
        return None
    for size in range(1, len(shares) + 1):
        held, negated = max((sum(positive[at : at + size]), -at) for at in range(len(shares) - size + 1))
        # A rounding error must not take in a layer that adds nothing.
        if held >= (holds - 1e-9) * whole:
            return -negated, -negated + size
    raise AssertionError("the band of all layers holds everything")


def extended_down(first: int, meaning: Sequence[float]) -> int:
    """The lowest layer from which on, up to `first`, each shares at least `SHARED` times as much meaning between languages as the layer that shares most."""
    while first > 0 and meaning[first - 1] >= SHARED * max(meaning) > 0:
        first -= 1
    return first


def make_layer_plan(shares: Sequence[float], alike: Sequence[Alike], conflict: Conflict, measure: Literal["patching", "lens"]) -> LayerPlan:
    """The band to train, from the shares of layers and how alike languages are in each (empty where that is not known).

    It ends where the smallest band that holds the claims ends: layers above it only read them out, and unlearning there silences what stays below
    (arXiv 2602.22562 found late layers to leave what a lens reads untouched). It begins where that band begins, or below it as far as the states are shared:
    what trains there moves the answer in all languages at once, while in the core each may have its own way to it. This second step is a
    rule of thumb, which no result here has tested.
    """
    layers = len(conflict.between)
    core = smallest_band(shares)
    if core is None:
        said = "Nothing of the claims was found in any language, so no layers can be told from the others: all would be trained."
        return LayerPlan(0, layers, layers, None, tuple(shares), measure, None, (said,))
    positive = [max(0.0, own) for own in shares]
    held = sum(positive[slice(*core)]) / sum(positive)
    reasons = [f"Of {_WHOLE[measure]}, {held:.0%} is the work of {_layers(*core)}; no fewer in a row hold {HOLDS:.0%}."]
    if measure == "lens":
        reasons.append(
            "That says where the claims are read out, which is above where they are kept; give a model before (--before) to find that."
        )
    meaning = [own.meaning for own in alike]
    first = extended_down(core[0], meaning) if meaning else core[0]
    if first < core[0]:
        reasons.append(
            f"In {_layers(first, core[0])}, below, languages share meaning nearly as much as anywhere ({min(meaning[first : core[0]]):.2f} of the variance "
            f"or more; at most {max(meaning):.2f}): what trains there reaches all languages, so the band begins there."
        )
    between = [
        (value, one, other) for one, own in conflict.pairs_within(first, core[1]).items() for other, value in own.items() if other != RETAIN
    ]
    if between:
        least, one, other = min(between)
        reasons.append(
            f"In this band the claims' gradients of two languages lie along each other by a cosine of {fmean(own[0] for own in between):+z.2f} on average, and least, "
            f"{least:+z.2f}, of {get_language(one).name} and {get_language(other).name}; below 0, unlearning in one works against the other."
        )
    against = [value for own in conflict.against.values() for value in own[first : core[1]] if value is not None]
    if against:
        reasons.append(
            f"In this band the claims' gradients lie along that of what must stay by a cosine of {fmean(against):+.2f} "
            f"(from {min(against):+.2f} to {max(against):+.2f}); above 0, unlearning works against it."
        )
    return LayerPlan(first, core[1], layers, core, tuple(shares), measure, None, tuple(reasons))


_WHOLE = {
    "patching": "what learning added to the claims (mean of both orders of patching, and of the languages where it added anything)",
    "lens": "the rise of the claims' edge over other answers, read layer by layer",
}


def _rises(curve: Sequence[float]) -> list[float]:
    return [own - before for own, before in zip(curve, [0.0, *curve], strict=False)]


def _layers(first: int, end: int) -> str:
    return f"layer {first}" if end == first + 1 else f"layers {first} to {end - 1}"
