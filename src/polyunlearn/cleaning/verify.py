"""Verifying that claims are gone: an audit of the saved model, and attacks on it. Of how it was unlearned nothing here knows more than which wordings it was
trained on."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Any, Literal

from torch import Tensor

from polyunlearn.attacks.asking import candidate_tokens
from polyunlearn.attacks.suite import AttackCard
from polyunlearn.attacks.target import Target, Variant
from polyunlearn.cleaning.asking import Asking, Compared, asked_languages, claim_probes, compared, restricted_to
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.controls import LEAST_CONTROLS, Edges, against_controls, oftener
from polyunlearn.cleaning.findings import ALLOWED, Audit, Group, Staying, audit_data, is_held, most_by_chance, staying
from polyunlearn.cleaning.plan import Settings
from polyunlearn.cleaning.wordings import Trained, foremost, set_aside
from polyunlearn.corpus.claims import Claim, Goal, check_goal, stays_in
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body, decoder_layers
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import check_weights, make_trainable
from polyunlearn.progress import Work
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs

DEFAULT_ATTACKS = ("quantisation", "pruning", "affirmative_prefix", "role_play", "multi_turn_doubt", "relearning")
"""What is tried unless attacks are named: each a kind of its own, without those that need true news or the model before."""

ATTACKED = Asking(wordings=1, alternatives=8)
"""How claims are asked under attack: less closely, since every form of every attack asks all of them; in a wording that was not trained on where there is one."""

ATTACKED_AFTER = (5, 20)
"""After how many steps attacks that train are measured: fewer times than in a study, for the same reason."""


@dataclass(frozen=True)
class Attempt:
    """One form of an attack: of the claims asked in `language`, how many it makes the model hold beyond chance (`held`, the names in `claims`), and of how many it
    is `undecided`, because there is too little to compare with; and how many of the `controls` of which it can be said. `edge` is the mean edge over chance of the
    claims that have one, in nats a token, or in the attack's own unit where that ranks by itself; None where none has. `rate` is the chance of one claim to look held
    here: alpha over the languages that it was audited in, of the decided claim with the fewest. `edges` are those of claims and controls that say something, by name."""

    attack: str
    variant: str
    strength: float
    spoken: str
    language: str
    asked: int
    held: int
    undecided: int
    controls: int
    controls_held: int
    edge: float | None
    rate: float
    claims: tuple[str, ...]
    edges: Edges

    @property
    def names(self) -> tuple[str, ...]:
        """The claims and controls that say something, in order: what attempts of one group have alike."""
        return tuple(sorted(self.edges))


@dataclass(frozen=True)
class Outcome:
    """Of one claim in one language: "passed", "failed" or "undecided" (too little to compare with), and why it failed: "held", "said", or "recovered" by
    the attacks named."""

    claim: str
    language: str
    result: Literal["passed", "failed", "undecided"]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Verification:
    """The audit of the model now, that of the one before where it was given, the attacks asked for and what they found, and under each attack the claims
    set against the controls, language by language.

    Chance lets some claims look held. So being held fails a claim only where more claims are than chance gives (`most_by_chance`), where it is held by far
    more than the others could be by chance (`Audit.surely_held`), or where the claims together lie above the controls (`Audit.held_together`). What an
    attack brings back fails where it is more than `allowed` of the claims, and either more than chance gives and than the controls explain (`_stands_out`), or claims
    above the controls while all together lie above these by more than chance gives. Only claims of which something can be said are counted. Asking plainly has all of alpha; each
    attack has alpha over their number and one, and over its attempts, or its groups: an attack more costs the others little.

    Where claims were to go at home alone, nothing here asks whether they are gone elsewhere, with or without an attack. There they are to stay: more than `allowed` of what the
    model held or said before that it does not any more fails too (`findings.Staying`).
    """

    after: Audit
    before: Audit | None
    attacks: tuple[str, ...]
    attempts: tuple[Attempt, ...]
    groups: tuple[Group, ...]
    allowed: float

    @property
    def held_by_chance(self) -> int:
        """As many claims as chance lets look held, were none, of those of which it can be said."""
        claims = sum(not own.control and self.after.decided(own.claim) for own in self.after.verdicts())
        return most_by_chance(claims, self.after.alpha)

    def adjusted(self, group: Group) -> float:
        """The p of a group under an attack, for as many attacks and groups of this one: it fails up to alpha."""
        return min(1.0, group.against.p * self._tests(group))

    def _tests(self, group: Group) -> int:
        return (len(self.attacks) + 1) * self._groups_by_attack[group.attack]

    def brought_back(self, own: Attempt) -> tuple[str, ...]:
        """The claims that an attempt brings back; none where there are no more than is allowed, than chance gives, or than the controls explain."""
        each = own.claims if self._stands_out(own, own.held) else ()
        group = self.group_in(own)
        above = group.against.above if group and self.adjusted(group) <= self.after.alpha else ()
        together = above if group and len(above) > self.allowed * group.against.asked else ()
        return tuple(dict.fromkeys((*each, *together)))

    def _stands_out(self, own: Attempt, held: int) -> bool:
        """Whether so many `held` are more than an attempt may bring back: than is allowed, than chance gives, and than the controls explain. These explain something
        where there are enough of them and more are held than chance gives, so that the attack makes any claim look held; claims must then be held oftener."""
        if not held:
            return False  # Attempts that ask for no claim are none that chance is shared out over.
        asked, alpha = own.asked - own.undecided, self.after.alpha
        chance = most_by_chance(asked, own.rate, alpha / (len(self.attacks) + 1) / self._attempts_by_attack[own.attack])
        if held <= max(self.allowed * asked, chance):
            return False
        alike = own.controls >= LEAST_CONTROLS and own.controls_held > most_by_chance(own.controls, own.rate, alpha)
        return not alike or oftener(held, asked, own.controls_held, own.controls) <= alpha

    def group_of(self, own: Attempt) -> Group | None:
        """The group that an attempt's claims are in; None where they cannot be set against controls."""
        return self._group_of.get((own.attack, own.language, own.names))

    @cached_property
    def _group_of(self) -> dict[tuple[str, str, tuple[str, ...]], Group]:
        return {(own.attack, own.language, own.names): own for own in self.groups}

    @cached_property
    def _groups_by_attack(self) -> Counter[str]:
        return Counter(own.attack for own in self.groups)

    @cached_property
    def _attempts_by_attack(self) -> Counter[str]:
        return Counter(own.attack for own in self.attempts if own.asked)

    def group_in(self, own: Attempt) -> Group | None:
        """The same, where the attempt is the form in which the claims lead most."""
        group = self.group_of(own)
        return group if group and (group.variant, group.strength) == (own.variant, own.strength) else None

    @property
    def powerless(self) -> dict[str, tuple[str, ...]]:
        """Attacks that could not have failed whatever they found, with the languages in which; with none where they asked for no claim."""
        found: dict[str, tuple[str, ...]] = {}
        for attack in self.attacks:
            own = [one for one in self.attempts if one.attack == attack and one.asked]
            weak = tuple(dict.fromkeys(one.language for one in own if not self._could_fail(one)))
            if weak or not own:
                found[attack] = weak
        return found

    @property
    def unasked(self) -> dict[str, tuple[str, ...]]:
        """Attacks that asked for claims in some of their languages alone, with the others, in which they have nothing to say."""
        languages = dict.fromkeys(own.language for own in self.after.findings if own.claim not in self.after.controls)
        found: dict[str, tuple[str, ...]] = {}
        for attack in self.attacks:
            asked = {own.language for own in self.attempts if own.attack == attack and own.asked}
            missing = tuple(tag for tag in languages if tag not in asked)
            if asked and missing:
                found[attack] = missing
        return found

    def _could_fail(self, own: Attempt) -> bool:
        group = self.group_of(own)
        together = group is not None and group.against.least * self._tests(group) <= self.after.alpha
        return together or self._stands_out(own, own.asked - own.undecided)

    def outcomes(self) -> Iterator[Outcome]:
        """Claims that are no controls, in every language."""
        recovered: dict[tuple[str, str], list[str]] = {}
        for own in self.attempts:
            for claim in self.brought_back(own):
                recovered.setdefault((claim, own.language), []).append(own.attack)
        held = sum(bool(own.held) for own in self.after.verdicts() if not own.control) > self.held_by_chance
        together = self.after.held_together
        for finding in self.after.findings:
            if finding.claim in self.after.controls:
                continue
            state = self.after.held(finding)
            is_held = (state and held) or self.after.surely_held(finding) or finding.claim in together.get(finding.language, ())
            faults = [name for name, fault in (("held", is_held), ("said", finding.says)) if fault]
            faults += [f"recovered by {name}" for name in dict.fromkeys(recovered.get((finding.claim, finding.language), []))]
            yield Outcome(
                finding.claim, finding.language, "failed" if faults else "undecided" if state is None else "passed", tuple(faults)
            )

    @cached_property
    def staying(self) -> Staying:
        """What became of what was to stay; of nothing, where nothing was."""
        return staying(self.before, self.after) if self.before else Staying()

    @property
    def result(self) -> Literal["passed", "failed", "undecided"]:
        """Failed where any outcome is, or too much was lost of what was to stay; undecided where one is, there is none, of some of that nothing can be said, or
        an attack could not have failed; else passed."""
        results = {own.result for own in self.outcomes()}
        if "failed" in results or self.staying.fails(self.allowed):
            return "failed"
        return "undecided" if results != {"passed"} or self.staying.undecided or self.powerless else "passed"

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "schema": 2,
            "result": self.result,
            "allowed": self.allowed,
            "held_by_chance": self.held_by_chance,
            "wordings": {"asked": self.after.wordings, "trained": self.after.trained, "only_trained": self.after.only_trained},
            "suppressed": self.after.suppressed,
            "attacks": list(self.attacks),
            "outcomes": [asdict(own) for own in self.outcomes()],
            "staying": asdict(self.staying),
            "attempts": [asdict(own) for own in self.attempts],
            "groups": [{**asdict(own), "adjusted": self.adjusted(own)} for own in self.groups],
            "powerless": {name: list(languages) for name, languages in self.powerless.items()},
            "unasked": {name: list(languages) for name, languages in self.unasked.items()},
            "after": audit_data(self.after),
            "before": audit_data(self.before) if self.before else None,
        }


def verify_claims(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    before: Audit | None,
    attacks: Sequence[AttackCard],
    asking: Asking | None = None,
    allowed: float = ALLOWED,
    work: Work = lambda what, done, total: None,
    trained: Trained | None = None,
    goal: Goal = "everywhere",
) -> Verification:
    """Audit the model, then attack it. Its weights come back as they were; attacks that make use of a learned state find none, and do nothing.

    Where it is known which questions the model was `trained` on to let claims go, claims are judged by others where they have any, as in `audit_claims`.
    With `goal` "home" claims are judged as there, and what is to stay by the audit `before`, which must then have been made with this goal.

    Raises:
        UserError: where this goal lacks such an audit or claims that have a home, where no claim has an edition in a language that is asked, an attack cannot do anything with claims, or the model gives no numbers or has weights
            that cannot train.
    """
    idle = [card for card in attacks if card.needs]
    if idle:
        raise UserError(f"attack {idle[0].name!r} needs {idle[0].needs}, which owners' claims have not; leave it out")
    if attacks:
        check_weights(loaded.model)
    check_before(claims, before, asking or Asking(), goal)
    after = audit_claims(loaded, claims, asking, work, trained, goal)
    claims = foremost(claims, set_aside(claims, trained or {}))
    attempts: list[Attempt] = []
    target = _target(loaded, claims, asked_languages(claims, asking or Asking()))
    head = restricted_to(loaded, target.probes)
    for number, card in enumerate(attacks):

        def measure(
            variant: Variant,
            model: LoadedModel,
            probes: Sequence[Probe],
            questions: Sequence[RankedQuestion],
            scores: Sequence[Tensor] | None = None,
            attack: str = card.name,
        ) -> None:
            if scores is None:
                # An attack may write the answers in letters that the plain questions lack.
                scores = candidate_log_probs(model.body, head.covering(candidate_tokens(questions), loaded.head), questions)
            for tag in dict.fromkeys(probe.language for probe in probes):
                own = [place for place, probe in enumerate(probes) if probe.language == tag]
                found = compared(claims, tag, [probes[place] for place in own], [scores[place] for place in own])
                attempts.append(_attempt(attack, variant, tag, found, after))

        work(f"attacking: {card.name}", number, len(attacks))
        card.attack(target, measure)
    groups = _groups(attempts, after, {claim.id: claim.kind for claim in claims})
    return Verification(after, before, tuple(card.name for card in attacks), tuple(attempts), tuple(groups), allowed)


def check_before(claims: Sequence[Claim], before: Audit | None, asking: Asking, goal: Goal) -> None:
    """Raise `UserError` where claims cannot be judged by this goal, or the audit before does not say what is to stay in all that is asked."""
    asked = asked_languages(claims, asking)
    check_goal(claims, goal, asking.languages)
    wanted = [(claim.id, tag) for claim in claims for tag in stays_in(claim, goal) if tag in asked]
    known = {(own.claim, own.language) for own in before.away} if before else set()
    lacking = [pair for pair in wanted if pair not in known]
    if lacking:
        claim, tag = lacking[0]
        raise UserError(
            f"goal home: what is to stay elsewhere is judged by what was there before, and no audit before says it of {claim} in {get_language(tag).name} "
            f"({len(lacking)} of {len(wanted)} such pairs lack it); give --before audit-before.json, which polyunlearn unlearn --goal home writes, or what "
            "polyunlearn audit --goal home wrote of the same claims in the same languages"
        )


def _groups(attempts: Sequence[Attempt], after: Audit, kinds: Mapping[str, str]) -> Iterator[Group]:
    """Under each attack and in each language the claims against the controls, over all forms that ask the same of them."""
    alike: dict[tuple[str, str, tuple[str, ...]], list[Attempt]] = {}
    for own in attempts:
        alike.setdefault((own.attack, own.language, own.names), []).append(own)
    for (attack, language, names), forms in alike.items():
        against = against_controls([own.edges for own in forms], after.controls, kinds, after.alpha)
        if against:
            yield Group(language, against, names, attack, forms[against.form].variant, forms[against.form].strength)


def _target(loaded: LoadedModel, claims: Sequence[Claim], languages: Sequence[str]) -> Target:
    """The model as attacks take it. What trains is what unlearning trains by default, whatever did train: an attacker does not know."""
    trainable = Settings().trainable(len(decoder_layers(loaded.model)))
    return Target(
        loaded=replace(loaded, body=Body(loaded.model, trainable.from_layer)),
        whole=replace(loaded, body=Body(loaded.model, 0)),
        training_head=loaded.head,
        parameters=make_trainable(loaded.model, trainable),
        learned={},
        # Controls are asked, never taught.
        claims=[claim for claim in claims if not claim.control],
        neighbours=(),
        languages=_teaching(claims, languages),
        probes=[probe for tag in languages for probe in claim_probes(claims, tag, ATTACKED)],
        seed=0,
        points=ATTACKED_AFTER,
    )


def _teaching(claims: Sequence[Claim], languages: Sequence[str]) -> list[str]:
    """The languages that relearning speaks: English and the claims' sources, where these are known, else all."""
    sources = {claim.source for claim in claims if claim.source}
    return [tag for tag in languages if sources and (tag == "en" or tag in sources)] or list(languages)


def _attempt(attack: str, variant: Variant, tag: str, found: Mapping[str, Compared], after: Audit) -> Attempt:
    """What one form of an attack brings back in a language, of what is judged there; p counts for as many languages as the audit tested, as it does there."""
    judged = after.of(tag)
    found = {claim: own for claim, own in found.items() if claim in judged}
    tests = {claim: after.tests(claim) for claim in found}
    states = {claim: is_held(own.p, own.nulls, tests[claim], after.alpha) for claim, own in found.items()}
    fewest = max(1, min((tests[claim] for claim in found if claim not in after.controls and states[claim] is not None), default=1))
    if after.away:
        # Beside claims that are judged at home alone a control counts for as few languages as they do, or it would look held less often.
        states |= {
            claim: is_held(own.p, own.nulls, min(tests[claim], fewest), after.alpha)
            for claim, own in found.items()
            if claim in after.controls
        }
    held = {claim for claim, state in states.items() if state}
    controls = [claim for claim in found if claim in after.controls and states[claim] is not None]
    claims = [claim for claim in found if claim not in after.controls]
    edges = {claim: own.edge for claim, own in found.items() if own.p is not None}
    told = [edges[claim] for claim in claims if claim in edges]
    return Attempt(
        attack=attack,
        variant=variant.name,
        strength=variant.strength,
        spoken=variant.language,
        language=tag,
        asked=len(claims),
        held=len(held.intersection(claims)),
        undecided=sum(states[claim] is None for claim in claims),
        controls=len(controls),
        controls_held=len(held.intersection(controls)),
        edge=fmean(told) if told else None,
        rate=after.alpha / fewest,
        claims=tuple(claim for claim in claims if claim in held),
        edges=edges,
    )
