"""Claims set against controls as two groups: what moves both alike says nothing, and many small traces that show in no claim alone show together."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import comb, prod

import numpy as np

DEALS = 19_999
"""How often edges are dealt out anew: the least p is one in 20,000."""

LEAST_CONTROLS = 5
"""With fewer controls one of them decides."""

TIE = 1e-9
"""The last bits of a mean must not decide."""

Edges = Mapping[str, float]
"""By claim or control, how far its answer lies above chance (nats a token)."""


@dataclass(frozen=True)
class AgainstControls:
    """The `asked` claims beside the controls, in the form of the asking (its number) in which they lead most: how far their mean edge lies above the
    controls' (`lead`), the chance of as much in any form were claims and controls alike, the least that it could be, and the claims that lie above all but
    the share `alpha` of the controls, as few do of those that no model was told."""

    form: int
    asked: int
    lead: float
    p: float
    least: float
    above: tuple[str, ...]


def against_controls(forms: Sequence[Edges], controls: Collection[str], kinds: Mapping[str, str], alpha: float) -> AgainstControls | None:
    """The claims' edges beside the controls', under every form of the asking; forms have the same names. None without a claim that has a control of its kind
    beside it, or with fewer than `LEAST_CONTROLS` controls of the claims' kinds.

    A one-sided randomisation test (Fisher 1935): within each kind, whose edges may scatter in a way of their own, names are dealt out to claims and controls
    at random, the same in every form, and p is how often the claims' lead, in its own standard deviations and the largest over the forms, is then as
    large (Westfall & Young 1993). So whatever an attack does to every name of a kind, or to how widely edges scatter, is in it, and many forms that ask alike
    cost little. The same edges give the same p.
    """
    names = _comparable(forms[0], controls, kinds)
    own = np.array([name not in controls for name in names])
    if not own.any() or (~own).sum() < LEAST_CONTROLS:
        return None
    edges = np.array([[form[name] for name in names] for form in forms], dtype=float)
    strata = [
        np.array([number for number, name in enumerate(names) if kinds[name] == kind]) for kind in sorted({kinds[name] for name in names})
    ]
    leads = edges @ _weights(own[None], strata, own.sum()).T
    rng = np.random.default_rng(0)
    dealt = np.zeros((DEALS, len(names)), dtype=bool)
    for stratum in strata:
        dealt[:, stratum] = rng.permuted(np.tile(own[stratum], (DEALS, 1)), axis=1)
    by_chance = _weights(dealt, strata, own.sum()) @ edges.T
    # Of a form that tells no name from another nothing can be said.
    scatter = by_chance.std(0)
    scatter[scatter < TIE] = np.inf
    standing = leads[:, 0] / scatter
    form = int(standing.argmax())
    as_large = ((by_chance / scatter).max(1) >= standing[form] - TIE).sum()
    ways = prod(comb(len(stratum), int(own[stratum].sum())) for stratum in strata)
    return AgainstControls(
        form=form,
        asked=int(own.sum()),
        lead=float(leads[form, 0]),
        p=float((1 + as_large) / (1 + DEALS)),
        least=max(1 / (1 + DEALS), 1 / ways),
        above=_above(edges[form], own, strata, names, alpha),
    )


def oftener(held: int, asked: int, controls_held: int, controls: int) -> float:
    r"""The chance that as many of those held are claims, `held` of the `asked` or more, were claims and the `controls` held alike: Fisher's exact test, one-sided,

    .. math:: \sum_{k \ge h} \binom{n}{k} \binom{m}{h + c - k} \Big/ \binom{n + m}{h + c}

    with h of n claims and c of m controls held; 1 where none or all of both are.
    """
    both = held + controls_held
    return sum(comb(asked, own) * comb(controls, both - own) for own in range(held, min(asked, both) + 1)) / comb(asked + controls, both)


def _comparable(edges: Edges, controls: Collection[str], kinds: Mapping[str, str]) -> list[str]:
    """The names of kinds that have claims and controls, sorted, so that the order of the file changes nothing."""
    sides = {(kinds[name], name in controls) for name in edges}
    return sorted(name for name in edges if {(kinds[name], True), (kinds[name], False)} <= sides)


def _weights(dealt: np.ndarray, strata: Sequence[np.ndarray], claims: int) -> np.ndarray:
    """Of each deal (deals, names) the weights whose sum with the edges is the claims' lead: the mean over claims of how far each lies above the mean of the
    controls of its kind."""
    weights = np.where(dealt, 1 / claims, 0.0)
    for stratum in strata:
        part = dealt[:, stratum]
        count = part.sum(1, keepdims=True)
        weights[:, stratum] -= np.where(part, 0.0, count / claims / (len(stratum) - count))
    return weights


def _above(edges: np.ndarray, own: np.ndarray, strata: Sequence[np.ndarray], names: Sequence[str], alpha: float) -> tuple[str, ...]:
    """The claims that lie further above the mean of the controls of their kind than all but the share `alpha` of the controls do."""
    beyond = edges.copy()
    for stratum in strata:
        beyond[stratum] -= edges[stratum][~own[stratum]].mean()
    others = np.sort(beyond[~own])[::-1]
    limit = others[int(alpha * len(others) + TIE)]
    return tuple(name for name, value, is_claim in zip(names, beyond, own, strict=True) if is_claim and value > limit)
