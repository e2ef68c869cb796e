"""The plan of an unlearning: which claims, in which languages, with what, read off the audit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from torch import nn

from polyunlearn.cleaning.findings import Audit, Finding
from polyunlearn.corpus.claims import Claim, Goal, goes_home, goes_in, languages_of
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.sequences import Encoder
from polyunlearn.models.trainable import TrainablePlan
from polyunlearn.tracing.coverage import claim_questions, gradient_sketch, inner_products
from polyunlearn.tracing.languages import MOST, Held, compare, living_in, make_trace

FROM = 5 / 18
"""The share of layers, from the first, that stay: what the studies of docs/results found to leave least and cost least."""


ADAPTER_RATE = 10.0
"""How many times the rate of the weights adapters train at."""


@dataclass(frozen=True)
class Settings:
    """How claims are unlearned; `docs/results/search.md` says where the defaults come from.

    `margin` (nats a token) is how far below what chance gives an answer is pushed before it is let go. `budget` is the relative rise of bits per byte
    that is allowed in the worst language. `languages` None lets the audit choose. Layers train from `from_layer` on (None: `FROM` of the layers) up to `to_layer`, which does not
    (`polyunlearn trace` proposes both). At most the first `wordings` wordings of a claim are trained on; the audits ask in all. With `adapter` low-rank adapters train in place of the weights, at `ADAPTER_RATE` times
    the rate, since they start from nothing. With `goal` "home" a claim that has a home is forgotten there alone, whatever the languages, and what the model answers in its others is
    retained.
    """

    method: str = "npo+kl"
    rate: float = 3e-5
    steps: int = 32
    batch: int = 8
    retain_batch: int = 8
    retain_texts: int = 1
    retain_weight: float = 16.0
    margin: float = 2.0
    budget: float = 0.02
    measure_every: int = 8
    from_layer: int | None = None
    to_layer: int | None = None
    languages: tuple[str, ...] | None = None
    goal: Goal = "everywhere"
    wordings: int = 2
    adapter: bool = False
    seed: int = 0

    def trainable(self, layers: int) -> TrainablePlan:
        """What trains in a model of so many layers."""
        return TrainablePlan("lora" if self.adapter else "body", round(FROM * layers) if self.from_layer is None else self.from_layer)

    @property
    def trained_rate(self) -> float:
        """The learning rate of what trains."""
        return self.rate * (ADAPTER_RATE if self.adapter else 1.0)


@dataclass(frozen=True)
class Plan:
    """What is unlearned: the `claims` that the audit found, in `languages`, and why, in sentences. `homes` are the languages in which those go that go at home
    alone."""

    claims: tuple[str, ...]
    languages: tuple[str, ...]
    reasons: tuple[str, ...]
    homes: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """All languages in which something is unlearned."""
        return tuple(dict.fromkeys((*self.languages, *self.homes)))

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Plan":
        """The plan of which `data` made plain data."""
        return cls(*(tuple(data[name]) for name in ("claims", "languages", "reasons", "homes")))


def make_plan(
    audit: Audit,
    claims: Sequence[Claim],
    settings: Settings,
    body: Body,
    head: OutputHead,
    encoder: Encoder,
    parameters: Mapping[str, nn.Parameter],
) -> Plan:
    """Which claims to unlearn in which languages: all that the audit found, and the languages that tracing takes, English beside them where the claims
    have it (unlearning anywhere else alone leaves it there: arXiv 2406.13748). What goes home alone has no part in the choice."""
    found = set(audit.found)
    chosen = [claim for claim in claims if claim.id in found]
    names = tuple(claim.id for claim in chosen)
    reasons = [f"The audit found {len(chosen)} of {sum(not claim.control for claim in claims)} claims."]
    homes: tuple[str, ...] = ()
    if at_home := [claim for claim in chosen if goes_home(claim, settings.goal)]:
        homes = tuple(tag for tag in languages_of(at_home) if any(tag == claim.home for claim in at_home))
        there = ", ".join(get_language(tag).name for tag in homes)
        reasons.append(f"{len(at_home)} of these have a home: they go there alone ({there}), and stay in their other languages.")
    others = [claim for claim in chosen if not goes_home(claim, settings.goal)]
    if at_home and not others:
        return Plan(names, (), tuple(reasons), homes)
    if settings.languages is not None:
        told = tuple(claim.id for claim in chosen if goes_in(claim, settings.languages, settings.goal))
        left = [name for name in names if name not in told]
        without = [f"Left out, with no edition in these: {', '.join(left)}."] if left else []
        return Plan(told, settings.languages, (*reasons, "The languages are those that were asked for.", *without), homes)
    if not chosen:
        return Plan((), (), tuple(reasons))
    languages, why = _chosen_languages(audit, others, body, head, encoder, parameters)
    return Plan(names, languages, (*reasons, *why), homes)


def _chosen_languages(
    audit: Audit,
    chosen: Sequence[Claim],
    body: Body,
    head: OutputHead,
    encoder: Encoder,
    parameters: Mapping[str, nn.Parameter],
) -> tuple[tuple[str, ...], list[str]]:
    """The languages to unlearn these claims in, and why."""
    found = {claim.id for claim in chosen}
    if not any(one.p is not None for one in audit.findings if one.claim in found):
        spoken, why = _spoken(audit, found)
        return _completed(spoken, chosen, audit, why), why
    held = held_in(audit, found)
    sketches = {}
    for tag in living_in(held):
        asked = claim_questions([claim for claim in chosen if tag in claim.editions], tag, encoder)
        sketches[tag] = gradient_sketch(body, head, parameters, asked)
    trace = make_trace(held, inner_products(sketches))
    why = list(trace.reasons)
    return _completed(trace.chosen, chosen, audit, why), why


def held_in(audit: Audit, found: set[str]) -> dict[str, Held]:
    """How each language holds the claims that were found, against what chance gives their answers; a language that says nothing of any is left out."""
    losses = {tag: _losses(there) for tag in audit.languages if (there := _of(audit, tag, found))}
    return compare({tag: own for tag, (own, _) in losses.items()}, {tag: control for tag, (_, control) in losses.items()})


def _spoken(audit: Audit, found: set[str]) -> tuple[list[str], list[str]]:
    """Where nothing says what chance gives these claims: up to `MOST` languages in which they are said, those first in which most are, then the likeliest; and why."""
    own = {tag: [one for one in audit.of(tag).values() if one.claim in found] for tag in audit.languages}
    said = {tag: sum(bool(one.says) for one in there) for tag, there in own.items()}
    spoken = sorted((tag for tag in said if said[tag]), key=lambda tag: (-said[tag], -fmean(one.expected + one.edge for one in own[tag])))[
        :MOST
    ]
    names = ", ".join(get_language(tag).name for tag in spoken)
    return spoken, [
        f"Nothing says what chance gives these claims (too few of their kind), so the languages are those in which they are said: {names}."
    ]


def _completed(chosen_languages: Sequence[str], chosen: Sequence[Claim], audit: Audit, why: list[str]) -> tuple[str, ...]:
    """The languages with English, where the claims have it, with one for every claim that has none of them, and for every one of which nothing is known but that
    it is said, and said in others; adds the reasons to `why`."""
    languages = list(chosen_languages)
    lacking = [claim.id for claim in chosen if not any(tag in claim.editions for tag in languages)]
    if "en" not in languages and any("en" in claim.editions for claim in chosen):
        languages.insert(0, "en")
        why.append("English is one of them too: claims that are unlearned elsewhere alone stay there.")
    for claim in chosen:
        if claim.id in lacking:
            own = [tag for tag in claim.editions if tag not in languages]
            languages += own[:1]
            if own:
                why.append(f"{claim.id} has no edition in the others, so {get_language(own[0]).name} is one of them.")
    for claim in chosen:
        there = audit.by_claim[claim.id].values()
        said = sorted((one for one in there if one.says), key=lambda one: -(one.expected + one.edge))
        if said and all(one.p is None for one in there) and not any(one.language in languages for one in said):
            languages.append(said[0].language)
            why.append(f"{claim.id} is said in none of the others, so {get_language(said[0].language).name} is one of them.")
    return tuple(dict.fromkeys(languages))


def _of(audit: Audit, tag: str, found: set[str]) -> list[Finding]:
    """What the audit found of these claims in a language that says something: an edge without p is of the name alone."""
    return [one for one in audit.of(tag).values() if one.claim in found and one.p is not None]


def _losses(findings: Sequence[Finding]) -> tuple[list[float], list[float]]:
    """The claims' losses, and those that chance gives."""
    return [-(own.expected + own.edge) for own in findings], [-own.expected for own in findings]
