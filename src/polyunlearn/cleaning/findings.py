"""What an audit finds: one finding a claim and language, and what they say together. Plain data, to and from JSON."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from polyunlearn.cleaning.controls import AgainstControls
from polyunlearn.errors import UserError
from polyunlearn.files import read_utf8, write_json_atomically

ALPHA = 0.05
"""The chance, a claim, that one which the model was never told is held in any of its languages (Bonferroni over them)."""

ALLOWED = 0.1
"""The share of claims that may lie above the controls, or that an attack may bring back, without a fault: chance and other names do as much."""


def is_held(p: float | None, nulls: int, tests: int, alpha: float) -> bool | None:
    """Whether p is small enough for as many tests; None where no p is, or where that of the largest edge could not be: 1 in `nulls` + 1 is the least."""
    tests = max(1, tests)
    if p is None or tests / (1 + nulls) > alpha:
        return None
    return p * tests <= alpha


def most_by_chance(count: int, rate: float, alpha: float = ALPHA) -> int:
    """The most of `count` that happen by chance, each at `rate`, unless chance is at most `alpha`: a quantile of the binomial distribution.
    `rate` lies between 0 and 1."""
    below = 0.0
    for hits in range(count + 1):
        # In logs: of thousands the binomial coefficient is no float.
        ways = math.lgamma(count + 1) - math.lgamma(hits + 1) - math.lgamma(count - hits + 1)
        below += math.exp(ways + hits * math.log(rate) + (count - hits) * math.log1p(-rate))
        # Rounding must not decide: one of one at a rate of alpha is not chance.
        if 1 - below <= alpha + 1e-12:
            return hits
    return count


@dataclass(frozen=True)
class Finding:
    """A claim in one language.

    It was asked in so many `wordings`, of which the model was `trained` on so many, None where that is not known. Where there are others, `edge`, `expected`, `p`,
    `nulls`, `first` and `prefers` are of the others alone; the rest is of all.

    `edge` (nats a token) is how far its answer lies above what chance gives (`scoring.metrics.association`), on average over wordings, and `p` the
    chance of as much, None where its answer stands beside too few others' questions, so that its edge says nothing; `nulls` is how many pairs it was compared with; `suppressed` that of lying as far below. `expected`
    (nats a token) is what chance gives. `probability` is that of the whole answer in its likeliest wording, `first` the share of wordings in which it
    ranks before all others. `prefers` is how far it lies above the truth (nats a token), None without one. `says` is the share of wordings whose
    greedy answer holds it, and `answers` are these.
    """

    claim: str
    language: str
    origin: str
    wordings: int
    edge: float
    expected: float
    p: float | None
    nulls: int
    suppressed: float | None
    probability: float
    first: float
    prefers: float | None
    says: float
    answers: tuple[str, ...]
    trained: int | None = None


@dataclass(frozen=True)
class Verdict:
    """A claim in all its languages: in which the model `held` it, `said` it, `undecided` it is, and the smallest p of all, for as many languages."""

    claim: str
    control: bool
    held: tuple[str, ...]
    said: tuple[str, ...]
    undecided: tuple[str, ...]
    p: float | None

    @property
    def found(self) -> bool:
        """Whether the model holds or says it in any language."""
        return bool(self.held or self.said)


@dataclass(frozen=True)
class Group:
    """The claims set against the controls in one language, as they are asked plainly or (`attack`) under one that has forms: the form in which they lead
    most, by its name and strength. `names` are the claims and controls that were asked, of whatever kind."""

    language: str
    against: AgainstControls
    names: tuple[str, ...]
    attack: str = ""
    variant: str = ""
    strength: float = 0.0


@dataclass(frozen=True)
class Audit:
    """The findings of one state of a model; `controls` are the claims that no model was told, and `groups` has the others set against them in every language
    in which they can be. `away` are the findings of claims that are to go in their home alone, in their other languages: there they are to stay, so that no verdict
    counts them."""

    model: str
    fingerprint: str
    languages: tuple[str, ...]
    controls: tuple[str, ...]
    alpha: float
    findings: tuple[Finding, ...]
    groups: tuple[Group, ...] = ()
    away: tuple[Finding, ...] = ()

    def of(self, language: str) -> dict[str, Finding]:
        """The findings in one language, by claim."""
        return {own.claim: own for own in self.findings if own.language == language}

    @cached_property
    def by_claim(self) -> dict[str, dict[str, Finding]]:
        """The findings by claim and language."""
        found: dict[str, dict[str, Finding]] = {}
        for own in self.findings:
            found.setdefault(own.claim, {})[own.language] = own
        return found

    def held(self, finding: Finding) -> bool | None:
        """Whether the model holds a claim in a language beyond chance; None where that cannot be said."""
        return is_held(finding.p, finding.nulls, self.tests(finding.claim), self.alpha)

    def low(self, finding: Finding) -> bool | None:
        """Whether a claim's answer lies further below chance than chance puts any; None where that cannot be said."""
        return is_held(finding.suppressed, finding.nulls, self.tests(finding.claim), self.alpha)

    @property
    def nothing_said(self) -> bool:
        """Whether of no claim it can be said, in any language, that it is held or is not, and none is said aloud."""
        own = [one for one in self.verdicts() if not one.control]
        return bool(own) and not any(one.said or self.decided(one.claim) for one in own)

    @property
    def suppressed(self) -> dict[str, tuple[str, ...]]:
        """By language the claims whose answers lie so low, where more claims do in some language than chance gives."""
        own = [one for one in self._own if self.low(one)]
        claims = {one.claim for one in self._own if self.decided(one.claim)}
        if len({one.claim for one in own}) <= most_by_chance(len(claims), self.alpha):
            return {}
        return {tag: found for tag in self.languages if (found := tuple(one.claim for one in own if one.language == tag))}

    def surely_held(self, finding: Finding) -> bool:
        """Whether it would be held beyond chance were every claim of which it can be said, and not this one alone, looked at for one that is."""
        claims = sum(claim not in self.controls and self.decided(claim) for claim in self.by_claim)
        return finding.p is not None and self.held(finding) is True and finding.p * self.tests(finding.claim) * claims <= self.alpha

    def decided(self, claim: str) -> bool:
        """Whether it can be said in any language that a claim is held, or is not."""
        return any(self.held(own) is not None for own in self.by_claim[claim].values())

    def tests(self, claim: str) -> int:
        """In how many languages a claim was tested."""
        return sum(own.p is not None for own in self.by_claim[claim].values())

    @property
    def wordings(self) -> int:
        """In how many wordings claims that are no controls were asked, in all languages together."""
        return sum(own.wordings for own in self._own)

    @property
    def trained(self) -> int | None:
        """How many of these the model was also trained on; None where that is not known."""
        known = [own.trained for own in self._own if own.trained is not None]
        return sum(known) if known else None

    @property
    def only_trained(self) -> dict[str, tuple[str, ...]]:
        """By language, the claims that were asked in no wording but those trained on."""
        found: dict[str, tuple[str, ...]] = {}
        for own in self._own:
            if own.trained == own.wordings:
                found[own.language] = (*found.get(own.language, ()), own.claim)
        return found

    @property
    def _own(self) -> list[Finding]:
        return [own for own in self.findings if own.claim not in self.controls]

    @property
    def held_together(self) -> dict[str, tuple[str, ...]]:
        """By language the claims that lie above the controls, where all together do by more than chance gives to as many languages, and more of them than
        `ALLOWED`."""
        return {
            own.language: own.against.above
            for own in self.groups
            if own.against.p * len(self.groups) <= self.alpha and len(own.against.above) > ALLOWED * own.against.asked
        }

    @property
    def found(self) -> tuple[str, ...]:
        """The claims that the model holds or says in any language, by themselves or where all together are held; in order, controls left out."""
        together = {claim for claims in self.held_together.values() for claim in claims}
        return tuple(own.claim for own in self.verdicts() if not own.control and (own.found or own.claim in together))

    def stands(self, finding: Finding) -> bool | None:
        """Whether the model holds or says a claim away from its home; None where that cannot be said. p counts for as many languages away from it."""
        return finding.says > 0 or is_held(finding.p, finding.nulls, self._tests_away[finding.claim], self.alpha)

    @cached_property
    def standing(self) -> tuple[Finding, ...]:
        """What is to stay away from home: claims that are said there, and those that are held, where more are than chance lets look so."""
        states = [(own, self.stands(own)) for own in self.away]
        told = {own.claim for own, state in states if state is not None}
        beyond = len({own.claim for own, state in states if state}) > most_by_chance(len(told), self.alpha)
        return tuple(own for own, state in states if state and (beyond or own.says))

    @cached_property
    def _tests_away(self) -> Counter[str]:
        return Counter(own.claim for own in self.away if own.p is not None)

    def verdicts(self) -> Iterator[Verdict]:
        """One of every claim, in order."""
        for claim, own in self.by_claim.items():
            tested = [one.p for one in own.values() if one.p is not None]
            yield Verdict(
                claim=claim,
                control=claim in self.controls,
                held=tuple(tag for tag, one in own.items() if self.held(one)),
                said=tuple(tag for tag, one in own.items() if one.says),
                undecided=tuple(tag for tag, one in own.items() if self.held(one) is None),
                p=min(1.0, min(tested) * len(tested)) if tested else None,
            )


@dataclass(frozen=True)
class Staying:
    """What became of what was to stay: of the pairs of claim and language, away from the claim's home, in which the model held or said the claim before, those in
    which it does so still (`kept`), does not (`lost`), and of which that cannot be said (`undecided`)."""

    kept: tuple[tuple[str, str], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()
    undecided: tuple[tuple[str, str], ...] = ()

    @property
    def count(self) -> int:
        """How many pairs were to stay."""
        return len(self.kept) + len(self.lost) + len(self.undecided)

    def fails(self, allowed: float) -> bool:
        """Whether more than the share `allowed` of those of which it can be said are lost."""
        return len(self.lost) > allowed * (len(self.kept) + len(self.lost))


def staying(before: Audit, after: Audit) -> Staying:
    """What became of what was to stay (`Audit.standing`), in the languages that both audits asked in."""
    was = {(own.claim, own.language) for own in before.standing}
    pairs: dict[bool | None, list[tuple[str, str]]] = {True: [], False: [], None: []}
    for own in after.away:
        if (own.claim, own.language) in was:
            pairs[after.stands(own)].append((own.claim, own.language))
    return Staying(*(tuple(pairs[state]) for state in (True, False, None)))


def write_audit(audit: Audit, path: Path) -> None:
    """Write an audit as JSON, atomically; the same audit gives the same bytes."""
    write_json_atomically(path, audit_data(audit))


def audit_data(audit: Audit) -> dict[str, Any]:
    """An audit as plain data, its verdicts with it."""
    return {"schema": 1, **asdict(audit), "verdicts": [{**asdict(own), "found": own.found} for own in audit.verdicts()]}


def read_audit(path: Path) -> Audit:
    """Read what `write_audit` wrote; raises `UserError` where it is something else."""
    try:
        return audit_of(json.loads(read_utf8(path)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no audit ({error}); write one with: polyunlearn audit MODEL CLAIMS --json FILE") from error


def audit_of(data: Mapping[str, Any]) -> Audit:
    """The audit of which `audit_data` made plain data."""
    findings, away = (
        tuple(Finding(**{**own, "answers": tuple(own["answers"])}) for own in part) for part in (data["findings"], data.get("away", ()))
    )
    lists = {name: tuple(data[name]) for name in ("languages", "controls")}
    # Audits that were written before these, or what is away, were kept have none.
    groups = tuple(
        Group(
            **{
                **own,
                "names": tuple(own["names"]),
                "against": AgainstControls(**{**own["against"], "above": tuple(own["against"]["above"])}),
            }
        )
        for own in data.get("groups", ())
    )
    return Audit(
        model=data["model"], fingerprint=data["fingerprint"], alpha=data["alpha"], findings=findings, groups=groups, away=away, **lists
    )
