"""What attacks bring back of the claims in unlearned states, beyond what they bring to gold, which never met them: rows in, figures out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from polyunlearn.intervals import Estimate, estimate
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

Stories = dict[str, float]
"""A value a story."""


@dataclass(frozen=True)
class Attempt:
    """One form of an attack: its name, its variant, how strong it is, and the language that it speaks, if any."""

    attack: str
    variant: str
    strength: float
    told: str


@dataclass(frozen=True)
class Recovery:
    r"""What an attempt brings back in one query language, of a source unlearned with a method and strategy.

    Fake ranks in the first wording, before and after, of the unlearned state, of gold and of the learned one; means over stories and seeds. `excess` is
    :math:`(u' - u) - (g' - g)`, paired by story, with an interval that draws stories of all seeds: above 0 the attack finds more than gold's
    rise, which is what it would bring to a model that never knew. `recovered` is the excess as a share of what unlearning took, (l - u); None
    where it took nothing.
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

    @property
    def recovered(self) -> float | None:
        """The excess as a share of what unlearning took."""
        taken = self.learned_before - self.before
        return self.excess.mean / taken if taken > 0 else None


def recoveries(config: StudyConfig, store: Store) -> list[Recovery]:
    """Every attempt on every method, strategy and source of a study, in every query language, over the seeds whose gold was attacked too."""
    before, after = _before(store), _after(store)
    attempts = list(dict.fromkeys(attempt for _, attempt in after))
    cells = [cell for cell in study_cells(config) if cell.state == "unlearned"]
    ways = list(dict.fromkeys((cell.source, cell.method, cell.strategy) for cell in cells))
    found = []
    for source, method, strategy in ways:
        seeds = [cell.seed for cell in cells if (cell.source, cell.method, cell.strategy) == (source, method, strategy)]
        for attempt in attempts:
            for tag in config.languages:
                stories = [
                    own for seed in seeds for own in _paired(before, after, attempt, tag, Cell("unlearned", seed, source, strategy, method))
                ]
                if stories:
                    found.append(_recovery(attempt, str(source), str(method), str(strategy), tag, stories))
    return found


def hardest(found: Iterable[Recovery]) -> list[Recovery]:
    """Of each attack on each source, method and strategy the attempt and language with the largest excess, largest first."""
    best: dict[tuple[str, str, str, str], Recovery] = {}
    for own in found:
        key = (own.attempt.attack, own.source, own.method, own.strategy)
        if key not in best or own.excess.mean > best[key].excess.mean:
            best[key] = own
    return sorted(best.values(), key=lambda own: -own.excess.mean)


@dataclass(frozen=True)
class _Story:
    """One story's fake rank: before and after of the unlearned state and of gold, and before of the learned one."""

    before: float
    after: float
    gold_before: float
    gold_after: float
    learned: float


def _paired(
    before: dict[tuple[str, str], Stories], after: dict[tuple[str, Attempt], dict[str, Stories]], attempt: Attempt, tag: str, cell: Cell
) -> list[_Story]:
    """The stories of a cell that an attempt asked about; none where the cell or its gold was not attacked so."""
    gold = Cell("gold", cell.seed)
    assert cell.parent
    own, control = after.get((cell.id, attempt), {}).get(tag, {}), after.get((gold.id, attempt), {}).get(tag, {})
    return [
        _Story(before[cell.id, tag][story], own[story], before[gold.id, tag][story], control[story], before[cell.parent.id, tag][story])
        for story in own
        if story in control
    ]


def _recovery(attempt: Attempt, source: str, method: str, strategy: str, tag: str, stories: Sequence[_Story]) -> Recovery:
    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(stories)

    return Recovery(
        attempt=attempt,
        source=source,
        method=method,
        strategy=strategy,
        language=tag,
        before=mean(own.before for own in stories),
        after=mean(own.after for own in stories),
        gold_before=mean(own.gold_before for own in stories),
        gold_after=mean(own.gold_after for own in stories),
        learned_before=mean(own.learned for own in stories),
        excess=estimate([(own.after - own.before) - (own.gold_after - own.gold_before) for own in stories]),
    )


def _before(store: Store) -> dict[tuple[str, str], Stories]:
    """The fake rank of every story in the first wording at the end of every cell, by cell and language."""
    table = store.query(
        """SELECT cell, language, story, value FROM rows WHERE asks = 'fake' AND metric = 'first' AND wording = 0 AND "end" ORDER BY ALL"""
    )
    found: dict[tuple[str, str], Stories] = {}
    for row in table.to_pylist():
        found.setdefault((row["cell"], row["language"]), {})[row["story"]] = row["value"]
    return found


def _after(store: Store) -> dict[tuple[str, Attempt], dict[str, Stories]]:
    """The same under attack, by cell, attempt and language."""
    table = store.query_attacks(
        "SELECT cell, attack, variant, strength, told, language, story, value FROM rows WHERE metric = 'first' ORDER BY ALL"
    )
    found: dict[tuple[str, Attempt], dict[str, Stories]] = {}
    for row in table.to_pylist():
        attempt = Attempt(row["attack"], row["variant"], row["strength"], row["told"])
        found.setdefault((row["cell"], attempt), {}).setdefault(row["language"], {})[row["story"]] = row["value"]
    return found
