"""What an attack is given, and how it shows what it made of a state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor, nn

from polyunlearn.corpus.claims import Tells
from polyunlearn.corpus.stories import Story
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion

POINTS = (1, 2, 5, 10, 20)
"""After how many steps an attack that trains is measured, unless its target says otherwise."""


@dataclass(frozen=True)
class Variant:
    """One form of an attack: its name, and how strong it is, in the attack's own unit (bits, share, steps, shots).

    `language` is the one that the attack speaks, or the source whose learned state it makes use of, where there is one.
    """

    name: str
    strength: float
    language: str = ""


BEFORE = Variant("before", 0)
"""The state as it is, asked what an attack asks that leaves out candidates."""


def form_before(variant: Variant) -> Variant:
    """The state as it is, asked what one form asks that leaves out candidates."""
    return replace(variant, name=f"{BEFORE.name}: {variant.name}")


class Measure(Protocol):
    """Reads, from the model as it is now, what the probes' questions rank; the questions stand beside the probes that they are of.

    An attack that ranks by itself gives its `scores`, one tensor (candidates,) a question, the larger the likelier. The model is then not read, and what
    only log-probs have (a probability, a loss) is not measured.
    """

    def __call__(
        self,
        variant: Variant,
        loaded: LoadedModel,
        probes: Sequence[Probe],
        questions: Sequence[RankedQuestion],
        scores: Sequence[Tensor] | None = None,
        /,
    ) -> None: ...


@dataclass(frozen=True)
class Target:
    """A state under attack: its weights are in the model, and an attack may leave others there.

    `probes` ask for the false claims of `claims`, each in those of `languages` that it has. `neighbours` are stories whose claims count as true; an owner's
    claims have none.
    `parameters`, by name, are what the study trains; `loaded` computes the layers below only once. `whole` is the same model with no layer taken
    for fixed. `learned` reads, by source, the weights of the learned states that this one is to be set against: that which it was unlearned
    from, all of the seed for gold, none for a learned state. Attacks that train take as many steps as the last of `points`, and are measured after each.
    """

    loaded: LoadedModel
    whole: LoadedModel
    training_head: OutputHead
    parameters: Mapping[str, nn.Parameter]
    learned: Mapping[str, Callable[[], Mapping[str, Tensor]]]
    claims: Sequence[Tells]
    neighbours: Sequence[Story]
    languages: Sequence[str]
    probes: Sequence[Probe]
    seed: int
    points: tuple[int, ...] = POINTS

    def probes_of(self, claims: Sequence[Tells]) -> list[Probe]:
        """The probes that ask for these claims."""
        ids = {claim.id for claim in claims}
        return [probe for probe in self.probes if probe.story in ids]

    def probes_besides(self, claims: Sequence[Tells]) -> list[Probe]:
        """The probes that ask for anything else: an owner's controls, which are among the probes and not among the claims, too."""
        ids = {claim.id for claim in claims}
        return [probe for probe in self.probes if probe.story not in ids]


Attack = Callable[[Target, Measure], None]
"""Attacks a state and measures what each of its variants makes of it."""
