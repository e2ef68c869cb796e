"""The objectives: a forget term and a retain term, by the names under which a study asks for them."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from polyunlearn.errors import UserError
from polyunlearn.training.cards import Card
from polyunlearn.training.loop import Objective, Part
from polyunlearn.training.objectives.cross_entropy import CROSS_ENTROPY
from polyunlearn.training.objectives.gradient_ascent import GRADIENT_ASCENT, GRADIENT_DIFFERENCE
from polyunlearn.training.objectives.npo import NPO
from polyunlearn.training.objectives.simnpo import SIMNPO
from polyunlearn.training.objectives.weighted_ascent import SATIMP, WGA

FORGET_TERMS = {card.name: card for card in (GRADIENT_ASCENT, GRADIENT_DIFFERENCE, NPO, SIMNPO, WGA, SATIMP)}
RETAIN_TERMS = {card.name: card for card in (CROSS_ENTROPY,)}

NO_RETAIN = "none"


@dataclass(frozen=True)
class Method:
    """An unlearning method: a forget term, and the retain term beside it, if any."""

    forget: Card
    retain: Card | None

    @property
    def cards(self) -> tuple[Card, ...]:
        """The cards of its terms."""
        return (self.forget, self.retain) if self.retain else (self.forget,)

    @property
    def defaults(self) -> dict[str, float]:
        """The settings of its terms with their defaults."""
        return {name: value for card in self.cards for name, value in card.defaults.items()}

    def objective(
        self,
        retain_weight: float = 1.0,
        settings: Mapping[str, float] = MappingProxyType({}),
        stop_below: float | None = None,
        watched: int | None = None,
    ) -> Objective:
        """The objective with some of its settings changed; see `training.loop.Part` and `Objective` for the rest."""
        forget = Part(self.forget.term_with(settings), self.forget.needs, stop_below=stop_below)
        retain = Part(self.retain.term_with(settings), self.retain.needs, weight=retain_weight) if self.retain else None
        return Objective(forget, retain, watched)


def get_method(name: str) -> Method:
    """The method of this name: a forget term with the retain term that it comes with, or "npo+kl", "npo+none" for another or none.

    Raises:
        UserError: where there is no such term, or the two make no sense together.
    """
    first, plus, second = name.partition("+")
    forget = _card(FORGET_TERMS, first, "method")
    wanted = second if plus else forget.retain or NO_RETAIN
    reason = forget.refuses.get(wanted)
    if reason:
        raise UserError(f"method {name!r}: {reason}")
    return Method(forget, None if wanted == NO_RETAIN else _card(RETAIN_TERMS, wanted, f"method {name!r}: retain term"))


def _card(cards: Mapping[str, Card], name: str, what: str) -> Card:
    if name not in cards:
        near = get_close_matches(name, cards, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown {what} {name!r}: {hint}choose from {', '.join(cards)}")
    return cards[name]


LEARNING = Objective(None, Part(CROSS_ENTROPY.term))
"""The objective of the learning stage: cross-entropy of everything in the step."""
