"""Weights of languages in the forget term: fixed, or by what is left in each while it is unlearned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from polyunlearn.training.labels import Labels, Term, Totals

MEMORY = 0.5
"""How much of the running mean of what a language knows a step leaves as it was."""


class LanguageWeights(Protocol):
    """How much a language's sequences count in the forget term. The weights of a step are fixed before it begins."""

    def of(self, language: str) -> float:
        """The weight of a language in the step that is going on."""

    def observe(self, language: str, log_probs: Tensor) -> None:
        """Takes note of the log-probs (labels,), in nats, of a sequence to forget, once a step and as the step finds it: not where a rule looks from."""

    def end_step(self) -> None:
        """The step is over."""


@dataclass(frozen=True)
class FixedWeights:
    """The same weights throughout; a language that is not named has 1."""

    weights: Mapping[str, float]

    def of(self, language: str) -> float:
        """Its weight."""
        return self.weights.get(language, 1.0)

    def observe(self, language: str, log_probs: Tensor) -> None:
        """Nothing changes."""

    def end_step(self) -> None:
        """Nothing changes."""


@dataclass
class ResidualWeights:
    r"""Weights in proportion to the share of what was known in a language that is left, after each step, with a mean of 1 over `languages`.

    .. math:: w_l = k\, r_l / \sum_m r_m, \quad r_l = \min(1, e_l / e_l^{(0)}), \quad e_l \leftarrow \mu e_l + (1 - \mu) \exp \bar{\ell}_l

    :math:`\bar{\ell}_l` is the mean log-prob of the labels to forget that a step has in language l, before it moves the weights; a step that
    has none leaves :math:`e_l` as it was. `memory` is :math:`\mu`, :math:`e^{(0)}` the first value. A language that was not met yet counts as
    wholly known, so all weights are 1 in the first step, and where nothing is left anywhere.

    The figures are the training's own, at no cost; since each step tells other facts, they are rougher than a measurement. Ours; LINGTEA
    (arXiv 2406.12354) weights by language too, but what is retained, by the teacher's confidence.
    """

    languages: Sequence[str]
    memory: float = MEMORY
    _first: dict[str, float] = field(default_factory=dict, init=False)
    _known: dict[str, float] = field(default_factory=dict, init=False)
    _seen: dict[str, list[Tensor]] = field(default_factory=dict, init=False)

    def of(self, language: str) -> float:
        """Its weight; raises `KeyError` for a language that is not among `languages`."""
        left = {tag: self._left(tag) for tag in self.languages}
        total = sum(left.values())
        return len(left) * left[language] / total if total > 0 else 1.0

    def observe(self, language: str, log_probs: Tensor) -> None:
        """Takes note of what is said in a language in this step; no gradient is kept."""
        self._seen.setdefault(language, []).append(log_probs.detach())

    def end_step(self) -> None:
        """Moves the weights to what the step has seen."""
        for language, seen in self._seen.items():
            known = float(torch.cat(seen).double().mean().exp())
            self._first.setdefault(language, known)
            self._known[language] = self.memory * self._known.get(language, known) + (1 - self.memory) * known
        self._seen.clear()

    def _left(self, language: str) -> float:
        first = self._first.get(language)
        if first is None:
            return 1.0
        # A probability that has no double has nothing left to lose.
        return min(1.0, self._known[language] / first) if first > 0 else 0.0


def weighted(term: Term, labels: Sequence[Labels], languages: Sequence[str], totals: Totals, weights: LanguageWeights) -> Tensor:
    """The share of some sequences in a step's loss with the sequences of each language weighted: a term's shares add up, so the weights are exact.

    `languages` (one a sequence) say which is whose.
    """
    groups: dict[str, list[Labels]] = {}
    for own, language in zip(labels, languages, strict=True):
        groups.setdefault(language, []).append(own)
    return torch.stack([weights.of(language) * term(group, totals) for language, group in groups.items()]).sum()
