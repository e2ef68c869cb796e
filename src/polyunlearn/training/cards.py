"""The card of a term: what `polyunlearn methods` shows of it, and what it asks of the loop and of other terms."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from polyunlearn.training.labels import Need, Term

Instead = Literal["truth", "refusal"]
"""The answer to give instead of one to forget: the true one, or "I don't know" in its language."""

NO_RETAIN = "none"
"""In place of a retain term's name: going without any."""


@dataclass(frozen=True)
class Bounds:
    """The finite numbers that a setting may be: from `least`, or `above` it, to `most`."""

    least: float = 0.0
    most: float = math.inf
    above: bool = False

    def problem(self, value: object) -> str | None:
        """Why it may not be this value, None where it may."""
        if (
            isinstance(value, float)
            and math.isfinite(value)
            and self.least <= value <= self.most
            and not (self.above and value == self.least)
        ):
            return None
        return "must be a finite number" + (f", {self}" if str(self) else "") + f" (got {value!r})"

    def __str__(self) -> str:
        """In words; empty where any number will do."""
        if self.most < math.inf:
            return f"{self.least:g} to {self.most:g}"
        if self.least == -math.inf:
            return ""
        return f"above {self.least:g}" if self.above else f"{self.least:g} or more"


POSITIVE = Bounds(above=True)
ANY_NUMBER = Bounds(-math.inf)


@dataclass(frozen=True)
class Card:
    """One term of an objective. `cost` is said beside a step of gradient difference; `needs` are what `term` reads beside log-probs.

    The keyword-only settings of `term`, `rule`, `dual` and `procedure`, with their defaults, are the method's; `bounds` say what they may be where that is
    not 0 or more. `rule` is how the method makes a
    step's gradient where it is not the plain one (`training.gradients`), `dual` makes the `training.loop.Dual` by which the retain term's weight
    moves, `procedure` says what becomes of the weights where they are not simply trained (`training.unlearning`). `moves_weights` says that the rule
    takes gradients where it has moved the weights by a little, which fp32 alone tells apart.

    Of a forget term, `retain` names the retain term that it comes with (None: it has none), `refuses` says why it cannot go with some, by
    name ("none" for going without any), `insists` why it goes with no other than `retain`, `refuses_adapters` why it cannot train low-rank
    adapters, `refuses_merging` why branches of it cannot be added up (`training.branches`), `least_steps` is how many steps it needs, and `instead` says
    which answers `needs` asks for.
    """

    name: str
    part: Literal["forget", "retain"]
    title: str
    formula: str
    paper: str
    cost: str
    term: Callable[..., Any]
    needs: frozenset[Need] = frozenset()
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    rule: Callable[..., Any] | None = None
    moves_weights: bool = False
    dual: Callable[..., Any] | None = None
    procedure: Callable[..., Any] | None = None
    retain: str | None = "cross_entropy"
    refuses: Mapping[str, str] = field(default_factory=dict)
    insists: str | None = None
    refuses_adapters: str | None = None
    refuses_merging: str | None = None
    least_steps: int = 1
    instead: Instead | None = None

    @property
    def defaults(self) -> dict[str, float]:
        """The settings with their defaults."""
        functions = (self.term, self.rule, self.dual, self.procedure)
        return {name: value for function in functions if function for name, value in _settings(function).items()}

    def bounds_of(self, setting: str) -> Bounds:
        """What one of its settings may be."""
        return self.bounds.get(setting, Bounds())

    def refusal(self, retain: str) -> str | None:
        """Why this forget term cannot go with the retain term of this name, None where it can."""
        if self.insists and retain != (self.retain or NO_RETAIN):
            return self.insists
        return self.refuses.get(retain)

    def term_with(self, settings: Mapping[str, float]) -> Term:
        """The term with some settings changed; those of others are passed over."""
        term: Term = _with(self.term, settings)
        return term

    def rule_with(self, settings: Mapping[str, float]) -> Any:
        """The rule with some settings changed, None where there is none."""
        return _with(self.rule, settings) if self.rule else None

    def dual_with(self, settings: Mapping[str, float]) -> Any:
        """The dual variable with some settings changed, None where there is none."""
        return _with(self.dual, settings)() if self.dual else None

    @property
    def fp32_alone(self) -> bool:
        """Whether coarser weights would lose what it does to them: it looks a little further, or sets the weights against those before, or blurs them."""
        return self.moves_weights or self.procedure is not None

    def procedure_with(self, settings: Mapping[str, float]) -> Any:
        """The procedure with some settings changed, None where there is none."""
        return _with(self.procedure, settings) if self.procedure else None


def _settings(function: Callable[..., Any]) -> dict[str, float]:
    return {one.name: one.default for one in inspect.signature(function).parameters.values() if one.kind is one.KEYWORD_ONLY}


def _with(function: Callable[..., Any], settings: Mapping[str, float]) -> Any:
    own = {name: value for name, value in settings.items() if name in _settings(function)}
    return partial(function, **own) if own else function
