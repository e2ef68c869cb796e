"""What linear probes tell beyond what they tell of names drawn at random: rows of two attacks in, figures a layer out."""

from dataclasses import dataclass

from polyunlearn.study.store import Store

Way = tuple[str, str, str]
"""A source, and the method and the strategy that it was unlearned with."""

_State = tuple[str, str | None, str | None, str | None]
_Form = tuple[int, str]


@dataclass(frozen=True)
class Probed:
    """Of one state, for what share of claims a probe puts the claim's own name first, and its control the drawn one."""

    accuracy: float
    control: float

    @property
    def selectivity(self) -> float:
        """The one less the other (Hewitt & Liang, arXiv 1909.03368), from -1 to 1; 0 where nothing can be told."""
        return self.accuracy - self.control


@dataclass(frozen=True)
class Selectivity:
    """Of probes fitted in `language` to the states that have passed `layers` layers; means over stories, query languages and seeds.

    What the unlearned state has beyond gold, which was never told, was learned and is there still. Where the learned one has nothing beyond gold either,
    probes cannot tell. None for a state that was not probed so.
    """

    layers: int
    language: str
    learned: Probed | None
    gold: Probed | None
    unlearned: Probed


def selectivities(store: Store) -> dict[Way, list[Selectivity]]:
    """Of each way of unlearning that `linear_probe` and `control_probe` were both run on, by layer and language.

    Raises:
        UserError: where nothing was attacked yet.
    """
    probed = _probed(store)
    gold = probed.get(("gold", None, None, None), {})
    found = {}
    for (state, source, method, strategy), forms in probed.items():
        if state == "unlearned":
            learned = probed.get(("learned", source, None, None), {})
            found[str(source), str(method), str(strategy)] = [
                Selectivity(*form, learned.get(form), gold.get(form), own) for form, own in forms.items()
            ]
    return found


def _probed(store: Store) -> dict[_State, dict[_Form, Probed]]:
    table = store.query_attacks(
        """SELECT state, source, method, strategy, strength, attack_language AS language,
        avg(value) FILTER (attack = 'linear_probe') AS accuracy, avg(value) FILTER (attack = 'control_probe') AS control
        FROM rows WHERE metric = 'first' GROUP BY ALL HAVING accuracy IS NOT NULL AND control IS NOT NULL ORDER BY ALL"""
    )
    found: dict[_State, dict[_Form, Probed]] = {}
    for row in table.to_pylist():
        forms = found.setdefault((row["state"], row["source"], row["method"], row["strategy"]), {})
        forms[int(row["strength"]), row["language"]] = Probed(row["accuracy"], row["control"])
    return found
