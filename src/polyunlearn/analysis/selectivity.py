"""What linear probes tell beyond what they tell of names drawn at random: rows of two attacks in, figures a layer out."""

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from polyunlearn.analysis.clusters import EITHER_WAY, mean_over
from polyunlearn.intervals import Estimate
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

Way = tuple[str, str, str]
"""A source, and the method and the strategy that it was unlearned with."""

_State = tuple[str, str | None, str | None, str | None]
_Form = tuple[int, str]
_Told = dict[tuple[int, str], tuple[float, float]]
"""Of each story of a seed, means over query languages: what a probe tells, and its control."""


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
    probes cannot tell. None for a state that was not probed so. `beyond` is the unlearned state's selectivity less gold's, paired by story, with an interval
    that draws seeds and stories; of many layers the best has more by chance alone.
    """

    layers: int
    language: str
    learned: Probed | None
    gold: Probed | None
    unlearned: Probed
    beyond: Estimate | None


def selectivities(config: StudyConfig, store: Store) -> dict[Way, list[Selectivity]]:
    """Of each way of unlearning that `linear_probe` and `control_probe` were both run on, by layer and language.

    Raises:
        UserError: where nothing was attacked yet.
    """
    probed = _told(store, config.stories_are_shared)
    gold = probed.get(("gold", None, None, None), {})
    found = {}
    for (state, source, method, strategy), forms in probed.items():
        if state == "unlearned":
            learned = probed.get(("learned", source, None, None), {})
            found[str(source), str(method), str(strategy)] = [
                Selectivity(*form, _probed(learned.get(form)), _probed(gold.get(form)), _mean(own), _beyond(own, gold.get(form)))
                for form, own in forms.items()
            ]
    return found


def _probed(told: _Told | None) -> Probed | None:
    return _mean(told) if told else None


def _mean(told: _Told) -> Probed:
    return Probed(*map(fmean, zip(*told.values(), strict=True)))


def _beyond(told: _Told, gold: _Told | None) -> Estimate | None:
    """By how much the probe tells more than its control, beyond the same of gold."""
    both = [story for story in told if gold and story in gold]
    if not gold or not both:
        return None
    more = [(told[story][0] - told[story][1]) - (gold[story][0] - gold[story][1]) for story in both]
    return mean_over(np.array(more), [seed for seed, _ in both], bounds=EITHER_WAY)


def _told(store: Store, shared: bool) -> dict[_State, dict[_Form, _Told]]:
    table = store.query_attacks(
        f"""SELECT state, source, method, strategy, strength, attack_language AS language, {"0 AS seed" if shared else "seed"}, story,
        avg(value) FILTER (attack = 'linear_probe') AS accuracy, avg(value) FILTER (attack = 'control_probe') AS control
        FROM rows WHERE metric = 'first' GROUP BY ALL HAVING accuracy IS NOT NULL AND control IS NOT NULL ORDER BY ALL"""
    )
    found: dict[_State, dict[_Form, _Told]] = {}
    for row in table.to_pylist():
        forms = found.setdefault((row["state"], row["source"], row["method"], row["strategy"]), {})
        told = forms.setdefault((int(row["strength"]), row["language"]), {})
        told[row["seed"], row["story"]] = row["accuracy"], row["control"]
    return found
