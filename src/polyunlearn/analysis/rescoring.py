"""Stored answers scored with any metric, without asking a model again: rows in, figures out."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.scoring.metrics.suite import AnswerMetric
from polyunlearn.scoring.probes import Probe, make_probes
from polyunlearn.study.cells import study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import study_stories
from polyunlearn.study.store import Store


@dataclass(frozen=True)
class Score:
    """A metric of a cell's answers to fake or real questions in one language: the mean over stories, each a mean over its wordings."""

    metric: str
    asks: str
    cell: str
    language: str
    value: Estimate


def rescore(config: StudyConfig, store: Store, metrics: Sequence[AnswerMetric]) -> list[Score]:
    """Every metric of every finished cell's greedy answers at its end, in the order of the study.

    Raises:
        UserError: where no answer was stored (`scoring.answered_wordings` 0), or the corpus has no such story any more.
    """
    table = store.query(
        """SELECT cell, seed, story, language, asks, wording, text FROM rows WHERE metric = 'says' AND "end"
        ORDER BY cell, seed, story, language, asks, wording"""
    )
    if not table.num_rows:
        raise UserError(f"{store.folder}: no answer was stored (scoring.answered_wordings is {config.scoring.answered_wordings})")
    probes = {seed: _probes(config, seed) for seed in config.seeds}
    found: dict[tuple[str, str, str, str], dict[str, list[float]]] = {}
    for row in table.to_pylist():
        probe = probes[row["seed"]].get((row["story"], row["language"], row["asks"], row["wording"]))
        if probe is None:
            raise UserError(
                f"{store.folder}: the corpus has no story {row['story']!r} in {row['language']!r} now; score it with the corpus of the study"
            )
        for metric in metrics:
            stories = found.setdefault((metric.name, row["asks"], row["cell"], row["language"]), {})
            stories.setdefault(row["story"], []).append(metric.score(row["text"], probe))
    order = [cell.id for cell in study_cells(config)]
    scores = [
        Score(metric, asks, cell, language, estimate([sum(own) / len(own) for own in stories.values()]))
        for (metric, asks, cell, language), stories in found.items()
    ]
    names = [metric.name for metric in metrics]
    return sorted(scores, key=lambda own: (names.index(own.metric), own.asks, order.index(own.cell), config.languages.index(own.language)))


def _probes(config: StudyConfig, seed: int) -> dict[tuple[str, str, str, int], Probe]:
    stories = study_stories(config, seed).trained
    probes = make_probes(stories, config.languages, config.scoring.wordings, config.scoring.candidates, seed=0)
    return {(own.story, own.language, own.asks, own.wording): own for own in probes}
