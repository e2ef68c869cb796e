"""The objectives: a forget term and a retain term, by the names under which a study asks for them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from polyunlearn.errors import UserError, unknown_name
from polyunlearn.training.cards import NO_RETAIN, Bounds, Card
from polyunlearn.training.loop import Objective, Part
from polyunlearn.training.objectives.ce_u import CE_U
from polyunlearn.training.objectives.cir import CIR
from polyunlearn.training.objectives.cir_tamper import CIR_TAMPER
from polyunlearn.training.objectives.cross_entropy import CROSS_ENTROPY
from polyunlearn.training.objectives.dpo import DPO, IDK, IDK_DPO
from polyunlearn.training.objectives.gradient_ascent import GRADIENT_ASCENT, GRADIENT_DIFFERENCE
from polyunlearn.training.objectives.hidden_states import HIDDEN_STATES
from polyunlearn.training.objectives.jensen_shannon import JENSEN_SHANNON
from polyunlearn.training.objectives.jensun import JENSUN
from polyunlearn.training.objectives.kl import KL
from polyunlearn.training.objectives.lingtea import LINGTEA, LINGTEA_PUBLISHED
from polyunlearn.training.objectives.npo import NPO
from polyunlearn.training.objectives.npo_lookahead import NPO_LOOKAHEAD
from polyunlearn.training.objectives.npo_sam import NPO_SAM
from polyunlearn.training.objectives.npo_tamper import NPO_TAMPER
from polyunlearn.training.objectives.pdu import PDU
from polyunlearn.training.objectives.rmu import RMU
from polyunlearn.training.objectives.simnpo import SIMNPO
from polyunlearn.training.objectives.task_vector import TASK_VECTOR
from polyunlearn.training.objectives.undial import UNDIAL
from polyunlearn.training.objectives.undo import UNDO
from polyunlearn.training.objectives.weighted_ascent import SATIMP, WGA

FORGET_TERMS = {
    card.name: card
    for card in (
        GRADIENT_ASCENT,
        GRADIENT_DIFFERENCE,
        NPO,
        SIMNPO,
        WGA,
        SATIMP,
        DPO,
        IDK_DPO,
        IDK,
        JENSUN,
        UNDIAL,
        CE_U,
        PDU,
        RMU,
        NPO_SAM,
        NPO_LOOKAHEAD,
        NPO_TAMPER,
        CIR,
        CIR_TAMPER,
        TASK_VECTOR,
        UNDO,
    )
}
RETAIN_TERMS = {card.name: card for card in (CROSS_ENTROPY, JENSEN_SHANNON, KL, HIDDEN_STATES, LINGTEA, LINGTEA_PUBLISHED)}


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

    def bounds_of(self, setting: str) -> Bounds:
        """What a setting of its terms may be; raises `StopIteration` for one that is none."""
        return next(card.bounds_of(setting) for card in self.cards if setting in card.defaults)

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
        return Objective(forget, retain, watched, self.forget.dual_with(settings))


def get_method(name: str) -> Method:
    """The method of this name: a forget term with the retain term that it comes with, or "npo+kl", "npo+none" for another or none.

    "npo@slow" is the same method under a name of its own, so that a study can have it several times with other settings.

    Raises:
        UserError: where there is no such term, the two make no sense together, or nothing that can be part of a file's name follows "@".
    """
    terms, at, own = name.partition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9._-]+", own):
        raise UserError(f"method {name!r}: after @ write a word of letters, digits, '.', '_' or '-', such as {terms}@slow")
    first, plus, second = terms.partition("+")
    forget = _card(FORGET_TERMS, first, "method")
    wanted = second if plus else forget.retain or NO_RETAIN
    reason = forget.refusal(wanted)
    if reason:
        raise UserError(f"method {name!r}: {reason}")
    return Method(forget, None if wanted == NO_RETAIN else _card(RETAIN_TERMS, wanted, f"method {name!r}: retain term"))


def check_precision(name: str, weights: Iterable[Tensor], merged: str = "") -> None:
    """Raise `UserError` where the method of this name would move weights by less than their numbers tell apart, or add up such moves where its branches or
    adapters are `merged`, which says which of them: it needs fp32, whatever trains them."""
    coarse = next((str(own.dtype).removeprefix("torch.") for own in weights if own.dtype.itemsize < 4), None)
    forget = get_method(name).forget
    if not coarse or not (forget.fp32_alone or merged):
        return
    what = f"method {name!r}" if forget.fp32_alone else f"method {name!r}, whose {merged} are merged,"
    raise UserError(
        f"{what} moves weights by less than {coarse} tells apart; hold them in fp32: "
        "on a GPU with more free memory, on the CPU (CUDA_VISIBLE_DEVICES= before the command), or in Python by model.float()"
    )


def _card(cards: Mapping[str, Card], name: str, what: str) -> Card:
    if name not in cards:
        raise unknown_name(what, name, cards)
    return cards[name]


LEARNING = Objective(None, Part(CROSS_ENTROPY.term))
"""The objective of the learning stage: cross-entropy of everything in the step."""
