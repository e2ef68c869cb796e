"""Verifying that claims are gone: an audit of the saved model, and attacks on it. Nothing here knows how it was unlearned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from polyunlearn.attacks.suite import AttackCard
from polyunlearn.attacks.target import Target, Variant
from polyunlearn.cleaning.asking import Asking, Compared, asked_languages, claim_probes, compared, restricted_to
from polyunlearn.cleaning.audit import Work, audit_claims
from polyunlearn.cleaning.findings import Audit, audit_data
from polyunlearn.cleaning.plan import FROM
from polyunlearn.corpus.claims import Claim
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs

DEFAULT_ATTACKS = ("quantisation", "pruning", "affirmative_prefix", "role_play", "multi_turn_doubt", "relearning")
"""What is tried unless attacks are named: each a kind of its own, without those that need true news or the model before."""

ATTACKED = Asking(wordings=1, alternatives=8)
"""How claims are asked under attack: less closely, since every form of every attack asks all of them."""


@dataclass(frozen=True)
class Attempt:
    """One form of an attack: of the claims asked in `language`, how many it makes the model hold beyond chance (`held`, the names in `claims`), and of
    the controls; `edge` is the claims' mean edge over chance (nats a token)."""

    attack: str
    variant: str
    strength: float
    spoken: str
    language: str
    asked: int
    held: int
    controls: int
    controls_held: int
    edge: float
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """Of one claim in one language: whether it passes, and why not: "held", "said", or "recovered" by the attacks named."""

    claim: str
    language: str
    passed: bool
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """The audit of the model now, that of the one before where it was given, what the attacks found, and the outcome of every claim and language.

    `allowed` is the share of claims that an attack may bring back in any language.
    """

    after: Audit
    before: Audit | None
    attempts: tuple[Attempt, ...]
    allowed: float

    def outcomes(self) -> Iterator[Outcome]:
        """Claims that are no controls, in every language; a claim that an attack brings back fails where that attack brings back more than is allowed."""
        recovered: dict[tuple[str, str], list[str]] = {}
        for own in self.attempts:
            if own.asked and own.held / own.asked > self.allowed:
                for claim in own.claims:
                    recovered.setdefault((claim, own.language), []).append(own.attack)
        for finding in self.after.findings:
            if finding.claim not in self.after.controls:
                faults = [name for name, fault in (("held", self.after.held(finding)), ("said", finding.says or finding.sampled)) if fault]
                faults += [f"recovered by {name}" for name in dict.fromkeys(recovered.get((finding.claim, finding.language), []))]
                yield Outcome(finding.claim, finding.language, not faults, tuple(faults))

    @property
    def passed(self) -> bool:
        """Whether every claim passes in every language."""
        return all(own.passed for own in self.outcomes())

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "schema": 1,
            "passed": self.passed,
            "allowed": self.allowed,
            "outcomes": [asdict(own) for own in self.outcomes()],
            "attempts": [asdict(own) for own in self.attempts],
            "after": audit_data(self.after),
            "before": audit_data(self.before) if self.before else None,
        }


def verify_claims(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    before: Audit | None,
    attacks: Sequence[AttackCard],
    asking: Asking | None = None,
    allowed: float = 0.1,
    work: Work = lambda what, done, total: None,
) -> Verification:
    """Audit the model, then attack it. Its weights come back as they were; attacks that make use of a learned state find none, and do nothing.

    Raises:
        UserError: where no claim has an edition in a language that is asked.
    """
    after = audit_claims(loaded, claims, asking, work)
    attempts: list[Attempt] = []
    target = _target(loaded, claims, asked_languages(claims, asking or Asking()))
    head = restricted_to(loaded, target.probes)
    for number, card in enumerate(attacks):

        def measure(
            variant: Variant, model: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion], attack: str = card.name
        ) -> None:
            scores = candidate_log_probs(model.body, head, questions)
            for tag in dict.fromkeys(probe.language for probe in probes):
                own = [place for place, probe in enumerate(probes) if probe.language == tag]
                found = compared(claims, tag, [probes[place] for place in own], [scores[place] for place in own])
                attempts.append(_attempt(attack, variant, tag, found, after))

        work(f"attacking: {card.name}", number, len(attacks))
        card.attack(target, measure)
    return Verification(after, before, tuple(attempts), allowed)


def _target(loaded: LoadedModel, claims: Sequence[Claim], languages: Sequence[str]) -> Target:
    """The model as attacks take it. What trains is what unlearning trains by default, whatever did train: an attacker does not know."""
    first = round(FROM * len(decoder_layers(loaded.model)))
    return Target(
        loaded=replace(loaded, body=Body(loaded.model, first)),
        whole=replace(loaded, body=Body(loaded.model, 0)),
        training_head=loaded.head,
        parameters=make_trainable(loaded.model, TrainablePlan(from_layer=first)),
        learned={},
        # Controls are asked, never taught.
        claims=[claim for claim in claims if not claim.control],
        neighbours=(),
        languages=_teaching(claims, languages),
        probes=[probe for tag in languages for probe in claim_probes(claims, tag, ATTACKED)],
        seed=0,
    )


def _teaching(claims: Sequence[Claim], languages: Sequence[str]) -> list[str]:
    """The languages that relearning speaks: English and the claims' sources, where these are known, else all."""
    sources = {claim.source for claim in claims if claim.source}
    return [tag for tag in languages if tag == "en" or tag in sources] if sources else list(languages)


def _attempt(attack: str, variant: Variant, tag: str, found: Mapping[str, Compared], after: Audit) -> Attempt:
    """What one form of an attack brings back in a language; p counts for as many languages as the audit tested, as it does there."""
    tests = {claim: sum(one.p is not None for one in own.values()) for claim, own in after.by_claim().items()}
    held = {claim for claim, own in found.items() if own.p is not None and own.p * tests[claim] <= after.alpha}
    controls = [claim for claim in found if claim in after.controls]
    claims = [claim for claim in found if claim not in after.controls]
    return Attempt(
        attack=attack,
        variant=variant.name,
        strength=variant.strength,
        spoken=variant.language,
        language=tag,
        asked=len(claims),
        held=len(held.intersection(claims)),
        controls=len(controls),
        controls_held=len(held.intersection(controls)),
        edge=fmean(found[claim].edge for claim in claims) if claims else 0.0,
        claims=tuple(claim for claim in claims if claim in held),
    )
