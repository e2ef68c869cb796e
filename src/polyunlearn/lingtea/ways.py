"""The ways of unlearning that LINGTEA's protocol sets beside each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from polyunlearn.cleaning.plan import Settings as Owners
from polyunlearn.errors import unknown_name
from polyunlearn.lingtea.tasks import Task, Trained
from polyunlearn.training.loop import Objective, Step
from polyunlearn.training.objectives import get_method
from polyunlearn.training.parallel_steps import alternating_epochs, turning_epochs

OWNERS = Owners()
"""Our way has the settings of `polyunlearn unlearn`."""


@dataclass(frozen=True)
class Way:
    """A method with its schedule: epochs that forget and retain in turn, or steps that do both; `rate` None is that of LINGTEA for the task."""

    title: str
    method: str
    alternating: bool
    rate: float | None = None
    retain_weight: float = 1.0
    stops: bool = False
    """Whether it lets an item go once that is improbable enough."""

    def rate_for(self, published: float) -> float:
        """The learning rate, where LINGTEA's is `published`."""
        return published if self.rate is None else self.rate

    def described(self, task: Task) -> str:
        """All of it that decides what it makes of a task."""
        stop = task.stop_below if self.stops else None
        texts = "" if self.alternating else f", {OWNERS.retain_texts} texts a step"
        order = "epochs in turn" if self.alternating else "all in a step"
        return f"{self.method}, {order}{texts}, rate {self.rate_for(task.rate):g}, retain weight {self.retain_weight:g}, stop below {stop}"

    def objective(self, task: Task) -> Objective:
        """The loss of its steps."""
        return get_method(self.method).objective(self.retain_weight, stop_below=task.stop_below if self.stops else None)

    def epochs(self, trained: Trained, batch: int, rng: Random) -> Iterator[list[Step]]:
        """Its steps, epoch by epoch, for ever."""
        if self.alternating:
            return alternating_epochs(trained.forget, trained.retain, batch=batch, rng=rng)
        return turning_epochs(trained.forget, trained.retain, trained.texts, batch=batch, retain_texts=OWNERS.retain_texts, rng=rng)


_PUBLISHED, _CORRECTED = "gradient_difference+lingtea_published", "gradient_difference+lingtea"

WAYS = {
    "ours": Way("ours: NPO + KL, languages in turn", OWNERS.method, False, OWNERS.rate, OWNERS.retain_weight, stops=True),
    "published": Way("LINGTEA, weight as published", _PUBLISHED, True),
    "published-slow": Way("LINGTEA, weight as published", _PUBLISHED, True, OWNERS.rate),
    "corrected": Way("LINGTEA, weight corrected", _CORRECTED, True),
    "corrected-slow": Way("LINGTEA, weight corrected", _CORRECTED, True, OWNERS.rate),
}
"""By name, in the order of tables."""


def check_ways(names: Sequence[str]) -> tuple[str, ...]:
    """The ways of these names in the order of tables, all where none is given; raises `UserError` for one that is none."""
    for name in names:
        if name not in WAYS:
            raise unknown_name("way", name, WAYS)
    return tuple(name for name in WAYS if name in names or not names)
