"""What attacks bring back of the claims in unlearned states, beyond what they bring to gold, which never met them: rows in, figures out."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyunlearn.analysis.clusters import EITHER_WAY, mean_over
from polyunlearn.attacks.target import BEFORE, Variant, form_before
from polyunlearn.intervals import Estimate
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

Stories = dict[str, float]
"""A value a story."""

Cluster = tuple[int, str]
"""A seed and a story of it."""


@dataclass(frozen=True)
class Attempt:
    """One form of an attack: its name, its variant, how strong it is, and the language that it speaks or whose learned state it uses, if any."""

    attack: str
    variant: str
    strength: float
    language: str


_Attacked = dict[tuple[str, Attempt], dict[str, Stories]]
"""One metric under attack, by cell and attempt, and by language."""


@dataclass(frozen=True)
class Recovery:
    r"""What an attempt brings back in one query language, of a source unlearned with a method and strategy.

    Fake ranks in the first wording, before and after, of the unlearned state, of gold and of the learned one, before among the same candidates as
    after where an attack leaves some out; means over stories and seeds. `excess` is :math:`(u' - u) - (g' - g)`, paired by story, with an interval that
    draws seeds, then stories (`analysis.clusters`; a story that seeds share is one): above 0 the attack finds more than gold's rise, which is what it would bring to a model that never knew. `recovered` is the excess as a share of what unlearning took, (l - u); None
    where it took nothing. `lead` is how far the claim then lies above gold's log-prob of it, in nats a token: what is in the model still, which rank hides
    where other names lie above all of them; None of attacks that rank by themselves, or where it is no number. `story_leads` has it of each story.
    """

    attempt: Attempt
    source: str
    method: str
    strategy: str
    language: str
    before: float
    after: float
    gold_before: float
    gold_after: float
    learned_before: float
    excess: Estimate
    lead: Estimate | None
    story_leads: dict[Cluster, float]

    @property
    def recovered(self) -> float | None:
        """The excess as a share of what unlearning took."""
        taken = self.learned_before - self.before
        return self.excess.mean / taken if taken > 0 else None


@dataclass(frozen=True)
class Hardest:
    """The form of an attack that brings most back, of a source unlearned with a method and strategy.

    It is the attempt with the largest mean excess over the query languages on every second story, and `worst` the language where it brings most
    back there; `by_language` says what it brings back on the other stories, so that choosing among many does not make it look stronger than it is.
    """

    attempt: Attempt
    source: str
    method: str
    strategy: str
    worst: str
    by_language: dict[str, Recovery]

    @property
    def mean_excess(self) -> float:
        """The mean over the query languages."""
        return _mean(own.excess.mean for own in self.by_language.values())


def recoveries(config: StudyConfig, store: Store) -> list[Recovery]:
    """Every attempt on every method, strategy and source of a study, in every query language, over the seeds whose gold was attacked too."""
    return [_recovery(own, own.stories) for own in _measured(config, store)]


def hardest(config: StudyConfig, store: Store) -> list[Hardest]:
    """Of each attack on each source, method and strategy its hardest form; a form is left out in a language where it asks no two stories of a seed."""
    attempts: dict[tuple[str, str, str, str], dict[Attempt, list[_Measured]]] = {}
    for own in _measured(config, store):
        if own.half(0) and own.half(1):
            key = (own.source, own.method, own.strategy, own.attempt.attack)
            attempts.setdefault(key, {}).setdefault(own.attempt, []).append(own)
    found = []
    for (source, method, strategy, _), forms in attempts.items():
        searched = {attempt: {own.language: _recovery(own, own.half(0)).excess.mean for own in forms[attempt]} for attempt in forms}
        chosen = max(searched, key=lambda attempt: _mean(searched[attempt].values()))
        worst = max(searched[chosen], key=lambda tag: searched[chosen][tag])
        reported = {own.language: _recovery(own, own.half(1)) for own in forms[chosen]}
        found.append(Hardest(chosen, source, method, strategy, worst, reported))
    return found


def relearning_matrix(found: Sequence[Recovery]) -> dict[str, dict[str, Recovery]]:
    """Of one source, method and strategy, by the language that half of the claims were taught in and the query language: after the most steps."""
    taught = [own for own in found if own.attempt.attack == "relearning"]
    most = max((own.attempt.strength for own in taught), default=0.0)
    matrix: dict[str, dict[str, Recovery]] = {}
    for own in taught:
        if own.attempt.strength == most:
            matrix.setdefault(own.attempt.language, {})[own.language] = own
    return matrix


@dataclass(frozen=True)
class CurvePoint:
    """Fake ranks after some steps of relearning, of the unlearned state and of gold, and the lead of the first over the second (`Recovery.lead`), over all
    languages taught and asked, with an interval that draws stories; before the first step there is no lead."""

    step: float
    unlearned: float
    gold: float
    lead: Estimate | None = None


def relearning_curves(found: Sequence[Recovery]) -> dict[str, list[CurvePoint]]:
    """Of one source, method and strategy, by attack that trains: from before it on. Means over what was taught and over query languages."""
    curves: dict[str, list[CurvePoint]] = {}
    for attack in ("relearning", "benign_relearning", "unrelated_relearning"):
        own = [one for one in found if one.attempt.attack == attack]
        if own:
            start = CurvePoint(0, _mean(one.before for one in own), _mean(one.gold_before for one in own))
            curves[attack] = [start]
            for step in sorted({one.attempt.strength for one in own}):
                then = [one for one in own if one.attempt.strength == step]
                leads: dict[Cluster, list[float]] = {}
                for story, lead in (item for one in then for item in one.story_leads.items()):
                    leads.setdefault(story, []).append(lead)
                ranks = _mean(one.after for one in then), _mean(one.gold_after for one in then)
                curves[attack].append(
                    CurvePoint(step, *ranks, _over({own: _mean(values) for own, values in leads.items()}) if leads else None)
                )
    return curves


@dataclass(frozen=True)
class _Story:
    """One story's fake rank: before and after of the unlearned state and of gold, and before of the learned one; `number` among those of its seed that the attack
    asked about in any form and language, from 0, so that all of these have the same halves; `cluster` is its seed and itself, of one seed what seeds share."""

    number: int
    cluster: Cluster
    before: float
    after: float
    gold_before: float
    gold_after: float
    learned: float
    lead: float | None


@dataclass(frozen=True)
class _Measured:
    """The stories that an attempt asked about in one language, of all seeds, in a fixed order."""

    attempt: Attempt
    source: str
    method: str
    strategy: str
    language: str
    stories: list[_Story]

    def half(self, which: int) -> list[_Story]:
        """Every second story of each seed, from its first (0) or second (1) on: the same of each seed, which may have the same stories."""
        return [story for story in self.stories if story.number % 2 == which]


def _measured(config: StudyConfig, store: Store) -> list[_Measured]:
    before, (after, losses) = _before(store), _after(store)
    shared = config.stories_are_shared
    clusters = _clusters(after, config)
    attempts = list(dict.fromkeys(attempt for _, attempt in after if not attempt.variant.startswith(BEFORE.name)))
    cells = [cell for cell in study_cells(config) if cell.state == "unlearned"]
    found = []
    for source, method, strategy in dict.fromkeys((cell.source, cell.method, cell.strategy) for cell in cells):
        own = [cell for cell in cells if (cell.source, cell.method, cell.strategy) == (source, method, strategy)]
        for attempt in attempts:
            for tag in config.languages:
                stories = [
                    story
                    for cell in own
                    for story in _paired(before, after, losses, attempt, tag, cell, clusters[attempt.attack, 0 if shared else cell.seed])
                ]
                if stories:
                    found.append(_Measured(attempt, str(source), str(method), str(strategy), tag, stories))
    return found


def _clusters(after: _Attacked, config: StudyConfig) -> dict[tuple[str, int], list[Cluster]]:
    """By attack and seed, those that seeds share as of seed 0, all stories that the attack asked about in any form and language, in a fixed order."""
    seeds = {cell.id: 0 if config.stories_are_shared else cell.seed for cell in study_cells(config)}
    asked: dict[tuple[str, int], set[str]] = {}
    for (cell, attempt), by_language in after.items():
        for stories in by_language.values():
            asked.setdefault((attempt.attack, seeds[cell]), set()).update(stories)
    return {(attack, seed): [(seed, story) for story in sorted(own)] for (attack, seed), own in asked.items()}


def _paired(
    before: dict[tuple[str, str], Stories],
    after: _Attacked,
    losses: _Attacked,
    attempt: Attempt,
    tag: str,
    cell: Cell,
    clusters: Sequence[Cluster],
) -> list[_Story]:
    """Of the stories in `clusters` those of a cell that an attempt asked about; none where the cell or its gold was not attacked so."""
    gold = Cell("gold", cell.seed)
    assert cell.parent
    own, control = (after.get((one.id, attempt), {}).get(tag, {}) for one in (cell, gold))
    # What the attack asks, asked before it; without it what every cell is asked.
    asked = [Attempt(attempt.attack, own.name, own.strength, own.language) for own in (form_before(_variant(attempt)), BEFORE)]
    start, gold_start, learned = (
        next(filter(None, (after.get((one.id, own), {}).get(tag) for own in asked)), before.get((one.id, tag), {}))
        for one in (cell, gold, cell.parent)
    )
    loss, gold_loss = (losses.get((one.id, attempt), {}).get(tag, {}) for one in (cell, gold))
    return [
        _Story(
            number,
            (seed, story),
            start[story],
            own[story],
            gold_start[story],
            control[story],
            learned[story],
            lead if story in loss and math.isfinite(lead := gold_loss[story] - loss[story]) else None,
        )
        for number, (seed, story) in enumerate(clusters)
        if story in own and story in control
    ]


def _variant(attempt: Attempt) -> Variant:
    return Variant(attempt.variant, attempt.strength, attempt.language)


def _recovery(measured: _Measured, stories: Sequence[_Story]) -> Recovery:
    clusters: dict[Cluster, list[float]] = {}
    leads: dict[Cluster, list[float]] = {}
    for own in stories:
        clusters.setdefault(own.cluster, []).append((own.after - own.before) - (own.gold_after - own.gold_before))
        if own.lead is not None:
            leads.setdefault(own.cluster, []).append(own.lead)
    story_leads = {story: _mean(values) for story, values in leads.items()}
    return Recovery(
        attempt=measured.attempt,
        source=measured.source,
        method=measured.method,
        strategy=measured.strategy,
        language=measured.language,
        before=_mean(own.before for own in stories),
        after=_mean(own.after for own in stories),
        gold_before=_mean(own.gold_before for own in stories),
        gold_after=_mean(own.gold_after for own in stories),
        learned_before=_mean(own.learned for own in stories),
        excess=_over({cluster: _mean(values) for cluster, values in clusters.items()}, EITHER_WAY),
        lead=_over(story_leads) if story_leads else None,
        story_leads=story_leads,
    )


def _over(values: Mapping[Cluster, float], bounds: tuple[float, float] | None = None) -> Estimate:
    return mean_over(np.array(list(values.values())), [seed for seed, _ in values], bounds=bounds)


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)


def _before(store: Store) -> dict[tuple[str, str], Stories]:
    """The fake rank of every story in the first wording at the end of every cell, by cell and language."""
    table = store.query(
        """SELECT cell, language, story, value FROM rows WHERE asks = 'fake' AND metric = 'first' AND wording = 0 AND "end" ORDER BY ALL"""
    )
    found: dict[tuple[str, str], Stories] = {}
    for row in table.to_pylist():
        found.setdefault((row["cell"], row["language"]), {})[row["story"]] = row["value"]
    return found


def _after(store: Store) -> tuple[_Attacked, _Attacked]:
    """Fake ranks, and losses, under attack."""
    table = store.query_attacks(
        "SELECT cell, attack, variant, strength, attack_language, language, story, metric, value FROM rows "
        "WHERE metric IN ('first', 'loss') ORDER BY ALL"
    )
    found: dict[str, _Attacked] = {"first": {}, "loss": {}}
    for row in table.to_pylist():
        attempt = Attempt(row["attack"], row["variant"], row["strength"], row["attack_language"])
        found[row["metric"]].setdefault((row["cell"], attempt), {}).setdefault(row["language"], {})[row["story"]] = row["value"]
    return found["first"], found["loss"]
