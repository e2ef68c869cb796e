"""Stored answers scored with any metric, without asking the model again that gave them: rows in, figures out."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.scoring.metrics.judging import Answered
from polyunlearn.scoring.metrics.suite import Scorer
from polyunlearn.scoring.probes import Probe, make_probes
from polyunlearn.study.cells import study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import measured_stories
from polyunlearn.study.store import Store


@dataclass(frozen=True)
class Score:
    """A metric of a cell's answers to fake or real questions, or of its texts, in one language: the mean over stories, each a mean over its wordings.
    `of` is what it is a metric of, where there are several.

    `unscored` answers have no value, since a judge gave none, and are left out; `value` is None where nothing is left.
    """

    metric: str
    asks: str
    cell: str
    language: str
    value: Estimate | None
    unscored: int = 0
    of: str = ""


def rescore(config: StudyConfig, store: Store, scorers: Sequence[Scorer]) -> list[Score]:
    """Every metric of every finished cell's greedy answers at its end, in the order of the study.

    Raises:
        UserError: where no answer was stored (`scoring.answered_wordings` 0), the corpus is another now, or a judge fails.
    """
    rows = store.query(
        """SELECT cell, seed, story, language, asks, wording, text FROM rows WHERE metric = 'says' AND "end"
        ORDER BY cell, seed, story, language, asks, wording"""
    ).to_pylist()
    if not rows:
        raise UserError(f"{store.folder}: no answer was stored (scoring.answered_wordings is {config.scoring.answered_wordings})")
    probes = {seed: _probes(config, seed, store) for seed in config.seeds}
    answers: list[Answered] = []
    for row in rows:
        probe = probes[row["seed"]].get((row["story"], row["language"], row["asks"], row["wording"]))
        if probe is None:
            raise UserError(
                f"{store.folder}: the corpus has no story {row['story']!r} in {row['language']!r} now; score it with the corpus of the study"
            )
        answers.append((row["text"], probe))
    found: dict[tuple[str, str, str, str], dict[str, list[float | None]]] = {}
    for scorer in scorers:
        for row, value in zip(rows, scorer.score(answers), strict=True):
            stories = found.setdefault((scorer.card.name, row["asks"], row["cell"], row["language"]), {})
            stories.setdefault(row["story"], []).append(value)
    order = [cell.id for cell in study_cells(config)]
    names = [scorer.card.name for scorer in scorers]
    bounds = {scorer.card.name: scorer.card.bounds for scorer in scorers}
    scores = [Score(*key, *_mean(stories, bounds[key[0]])) for key, stories in found.items()]
    return sorted(scores, key=lambda own: (names.index(own.metric), own.asks, order.index(own.cell), config.languages.index(own.language)))


def _mean(stories: dict[str, list[float | None]], bounds: tuple[float, float] | None) -> tuple[Estimate | None, int]:
    """The mean over the stories that have a value, and how many answers have none."""
    valued = [[value for value in own if value is not None] for own in stories.values()]
    means = [sum(own) / len(own) for own in valued if own]
    return estimate(means, bounds=bounds) if means else None, sum(map(len, stories.values())) - sum(map(len, valued))


def _probes(config: StudyConfig, seed: int, store: Store) -> dict[tuple[str, str, str, int], Probe]:
    stories = measured_stories(config, seed, store)
    probes = make_probes(stories.trained, config.languages, config.scoring.wordings, config.scoring.candidates, seed=0)
    return {(own.story, own.language, own.asks, own.wording): own for own in probes}
