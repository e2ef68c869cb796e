"""The card of a term: what `polyunlearn methods` shows of it, and what it asks of the loop and of other terms."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from polyunlearn.training.labels import Need, Term

Instead = Literal["truth", "refusal"]
"""The answer to give instead of one to forget: the true one, or "I don't know" in its language."""


@dataclass(frozen=True)
class Card:
    """One term of an objective. `cost` is said beside a step of gradient difference; `needs` are what `term` reads beside log-probs.

    The keyword-only settings of `term` and of `rule`, with their defaults, are the method's. `rule` is how the method makes a step's gradient
    where it is not the plain one (`training.gradients`).

    Of a forget term, `retain` names the retain term that it comes with (None: it has none), `refuses` says why it cannot go with some, by
    name ("none" for going without any), and `instead` says which answers `needs` asks for.
    """

    name: str
    part: Literal["forget", "retain"]
    title: str
    formula: str
    paper: str
    cost: str
    term: Callable[..., Any]
    needs: frozenset[Need] = frozenset()
    rule: Callable[..., Any] | None = None
    retain: str | None = "cross_entropy"
    refuses: Mapping[str, str] = field(default_factory=dict)
    instead: Instead | None = None

    @property
    def defaults(self) -> dict[str, float]:
        """The settings with their defaults."""
        return {name: value for function in (self.term, self.rule) if function for name, value in _settings(function).items()}

    def term_with(self, settings: Mapping[str, float]) -> Term:
        """The term with some settings changed; those of others are passed over."""
        term: Term = _with(self.term, settings)
        return term

    def rule_with(self, settings: Mapping[str, float]) -> Any:
        """The rule with some settings changed, None where there is none."""
        return _with(self.rule, settings) if self.rule else None


def _settings(function: Callable[..., Any]) -> dict[str, float]:
    return {one.name: one.default for one in inspect.signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY}


def _with(function: Callable[..., Any], settings: Mapping[str, float]) -> Any:
    own = {name: value for name, value in settings.items() if name in _settings(function)}
    return partial(function, **own) if own else function
