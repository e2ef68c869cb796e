"""Where claims live, and the fewest languages to unlearn them in: figures in, a `Trace` out. Nothing here knows the source language."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import fmean
from typing import Any, Literal

from polyunlearn.intervals import Estimate, paired_difference
from polyunlearn.languages import get_language

Gram = Mapping[tuple[str, str], float]
"""Inner products of the languages' gradients; see `tracing.coverage`."""

LIVES = 0.5
"""The least firmness, as a share of the firmest language's, with which a claim counts as living in a language. In the quickstart's four learned
states the languages that learning had reached lie at 0.73 or more, those that it had not below 0; half is between."""

COVERED = 0.6
"""The least coverage with which a language counts as unlearned: its share of what the same steps would do if all were told in it. Geometry: two
languages at right angles that are told in turn have 0.71 each, which must be enough; a half would let a language stand still as much as it goes
along. On the embedded model two languages' cosines lie at 0.2 to 0.6 (seed 0, German claims), so that no three cover five: the best three are taken."""

MOST = 3
"""The most languages to unlearn in. They share the steps: of a mix over nine the quickstart saw a third or more of the claims left."""


@dataclass(frozen=True)
class Held:
    """How a state holds claims in one query language, against a control that was never taught them.

    `raised` is how far the mean log-prob of the false answers lies above the control's, in nats a token, paired by story. `firmness` is the same as a
    share of the control's loss: 0 as the control, 1 certain, below 0 where they became less likely. It can be compared between languages,
    which cut names into tokens of different predictability.
    """

    raised: Estimate
    firmness: float


@dataclass(frozen=True)
class ByWording:
    """How a state holds claims by how they are asked, over claims: by language, in each wording of their questions, and `romanised`, in the first one written in
    Latin letters, in languages of other scripts. None where nothing can be said.

    `measure` says of what: "edge" and "raised" are nats a token above what chance gives (`scoring.metrics.association`) and above the model before, "residual" is
    the share that is left of what learning added to the fake rank.
    """

    measure: Literal["edge", "raised", "residual"]
    wordings: dict[str, tuple[Estimate | None, ...]]
    romanised: dict[str, Estimate | None]


@dataclass(frozen=True)
class Trace:
    """What tracing found: how each language holds the claims, which of them count (`living`, firmest first), how much of the fall of one telling another
    brings (`coverage[told][asked]`), the `chosen` languages, how they cover each living one, and why, in sentences.
    """

    held: dict[str, Held]
    living: tuple[str, ...]
    coverage: dict[str, dict[str, float]]
    chosen: tuple[str, ...]
    covered: dict[str, float]
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Trace":
        """The trace that `dataclasses.asdict` made plain data of."""
        held = {tag: Held(Estimate(**own["raised"]), own["firmness"]) for tag, own in data["held"].items()}
        lists = {name: tuple(data[name]) for name in ("living", "chosen", "reasons")}
        return cls(held=held, coverage=data["coverage"], covered=data["covered"], **lists)


def compare(losses: Mapping[str, Sequence[float]], control: Mapping[str, Sequence[float]]) -> dict[str, Held]:
    """How each language holds the claims, from a state's and a control's losses of the false answers: one value a story in nats a token, stories in
    the same order."""
    held = {}
    for tag, own in losses.items():
        raised, before = paired_difference(control[tag], own), fmean(control[tag])
        held[tag] = Held(raised, raised.mean / before if before > 0 else 0.0)
    return held


def living_in(held: Mapping[str, Held]) -> tuple[str, ...]:
    """The languages that claims live in, firmest first: those where the interval of what was raised lies above 0 and firmness is at least `LIVES`
    times the largest."""
    above = sorted((-own.firmness, tag) for tag, own in held.items() if own.raised.low > 0)
    return tuple(tag for negated, tag in above if negated <= LIVES * above[0][0])


def coverage(gram: Gram, told: Sequence[str], asked: str) -> float:
    r"""The share of its own fall that unlearning in the languages `told`, taking turns, brings to the answers in `asked`; to first order, -1 to 1.

    .. math:: \frac{\langle \sum_a g_a, g_b \rangle}{\lVert \sum_a g_a \rVert \, \lVert g_b \rVert}

    A step's gradient is the sum over its languages, and AdamW's steps are equally long whatever the gradient's length; so it is the fall of b along the
    mixture's direction, against the fall of a step of the same length along b's own. For one language it is the cosine between both.
    """
    along = sum(gram[one, asked] for one in told)
    length = sum(gram[one, other] for one in told for other in told) * gram[asked, asked]
    return along / sqrt(length) if length > 0 else 0.0


def choose(held: Mapping[str, Held], living: Sequence[str], gram: Gram) -> tuple[str, ...]:
    """The languages to unlearn in: the smallest set that covers every living language by `COVERED`.

    The firmest language is always one of them: where an answer is nearly certain its log-prob is flat, so that a first-order figure says least of
    it, and it is the last to fall when others are told (after unlearning in English alone the claims stay in their source, which was the
    firmest language in each of the quickstart's learned states). Of sets of one size the best is that whose least covered language is
    covered most; where several are alike, that with the largest coverage in all, weighted with firmness. Where no set of up to `MOST`
    covers all, it is the best of them by the same measure, whatever its size: languages share the steps, so more need not cover more.

    English comes first, as in the other strategies, then the firmest: the same languages make the same steps.
    """
    firmest, *others = living

    def merit(told: Sequence[str]) -> tuple[float, float]:
        shares = {tag: coverage(gram, told, tag) for tag in living}
        return min(shares.values()), sum(held[tag].firmness * share for tag, share in shares.items())

    best: tuple[str, ...] = (firmest,)
    for size in range(1, min(MOST, len(living)) + 1):
        found = max(((firmest, *more) for more in combinations(others, size - 1)), key=merit)
        if merit(found) > merit(best):
            best = found
        if merit(best)[0] >= COVERED:
            break
    return tuple(sorted(best, key=lambda tag: (tag != "en", living.index(tag))))


def make_trace(held: Mapping[str, Held], gram: Gram) -> Trace:
    """The languages to unlearn in, and why; `gram` must hold the languages of `living_in(held)`.

    Where the claims live in no language it is the one that holds them most firmly: something has to be unlearned, and the reasons say so.
    """
    living = living_in(held)
    if not living:
        least_bad = min(held, key=lambda tag: (-held[tag].firmness, tag))
        reason = f"No language holds the claims beyond the control's interval; {_name(least_bad)} is the closest to it."
        return Trace(dict(held), (), {}, (least_bad,), {}, (reason,))
    chosen = choose(held, living, gram)
    pairs = {one: {other: coverage(gram, (one,), other) for other in living} for one in living}
    covered = {tag: coverage(gram, chosen, tag) for tag in living}
    return Trace(dict(held), living, pairs, chosen, covered, tuple(_reasons(held, living, pairs, chosen, covered)))


def _reasons(
    held: Mapping[str, Held],
    living: Sequence[str],
    pairs: Mapping[str, Mapping[str, float]],
    chosen: Sequence[str],
    covered: Mapping[str, float],
) -> list[str]:
    firmest = living[0]
    own = held[firmest].raised
    sentences = [
        f"{_name(firmest)} holds the claims most firmly: {held[firmest].firmness:.2f} of the way from the control to certain, "
        f"{own.mean:.2f} nats a token above it ({own.low:.2f} to {own.high:.2f}). So it is one of the languages."
    ]
    alone, least = (min(shares, key=lambda tag: shares[tag]) for shares in (pairs[firmest], covered))
    if len(chosen) > 1:
        others = " and ".join(_name(tag) for tag in chosen if tag != firmest)
        sentences.append(
            f"Alone it covers {_name(alone)} by {pairs[firmest][alone]:.2f}, less than {COVERED:g}; with {others}, "
            f"{_name(least)} is covered least, by {covered[least]:.2f}."
        )
    elif len(living) > 1:
        sentences.append(f"Of the others it covers {_name(least)} least, by {covered[least]:.2f}.")
    if covered[least] < COVERED:
        sentences.append(
            f"No more than {MOST} languages cover every other by {COVERED:g}: of all languages look at {_name(least)} for what is left."
        )
    left_out = [_name(tag) for tag in sorted(held) if tag not in living]
    if left_out:
        sentences.append(
            f"Not held beyond the control's interval, or less than {LIVES:g} times as firmly as in {_name(firmest)}: {', '.join(left_out)}."
        )
    return sentences


def _name(tag: str) -> str:
    return get_language(tag).name
