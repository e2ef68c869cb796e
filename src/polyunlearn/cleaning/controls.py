"""Claims set against controls as two groups: what moves both alike says nothing, and many small traces that show in no claim alone show together."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

DEALS = 19_999
"""How often edges are dealt out anew: the least p is one in 20,000."""

LEAST_CONTROLS = 5
"""With fewer controls one of them decides."""

TIE = 1e-9
"""The last bits of a mean must not decide."""


@dataclass(frozen=True)
class AgainstControls:
    """How far the claims' mean edge lies above the controls' (nats a token), the chance of as much were claims and controls alike, and the claims whose
    edge lies above every control's."""

    lead: float
    p: float
    above: tuple[str, ...]


def against_controls(claims: Mapping[str, float], controls: Mapping[str, float]) -> AgainstControls | None:
    """The claims' edges beside the controls', by id; None without a claim, or with fewer than `LEAST_CONTROLS` controls.

    A one-sided randomisation test (Fisher 1935): edges are dealt out to claims and controls at random, and p is how often the claims' mean is then as far
    above. So whatever an attack does to every name of the kind, or to how widely edges scatter, is in it. The same edges give the same p.
    """
    if not claims or len(controls) < LEAST_CONTROLS:
        return None
    own, others = np.array(list(claims.values())), np.array(list(controls.values()))
    everything, count = np.concatenate([own, others]), len(own)
    order = np.random.default_rng(0).permuted(np.tile(np.arange(len(everything)), (DEALS, 1)), axis=1)
    dealt = everything[order]
    leads = dealt[:, :count].mean(1) - dealt[:, count:].mean(1)
    lead = float(own.mean() - others.mean())
    highest = others.max()
    return AgainstControls(
        lead, float((1 + (leads >= lead - TIE).sum()) / (1 + DEALS)), tuple(name for name, edge in claims.items() if edge > highest)
    )
