"""How a study's states hold claims by how they are asked: in each wording of the question, and in Latin letters."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from polyunlearn.analysis.clusters import share_left
from polyunlearn.intervals import Estimate, paired_difference
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store
from polyunlearn.tracing.languages import ByWording

Values = Mapping[tuple[str, str, int], Mapping[str, float]]
"""By metric, language and wording a value a story."""


def by_wording(config: StudyConfig, store: Store, romanised: Mapping[str, Sequence[Row]]) -> dict[str, ByWording]:
    """Of every learned and unlearned state that was `romanised` (rows by the cell's id, those of base among them; empty where no language has another script), by
    its id.

    Of a learned state how far the log-prob of the false answers lies above base, of an unlearned one the residual of the fake rank: the share that is left of what
    learning added, None where it added nothing beyond its interval in this wording (the gate). Both are paired by story.
    """
    found = {}
    for cell in study_cells(config):
        if cell.id in romanised and cell.source is not None:
            states = (Cell("base", cell.seed), Cell("learned", cell.seed, cell.source), cell)
            plain = [_stored(store, own) for own in states]
            written = [_of_rows(romanised[own.id]) for own in states]
            figure = _residual if cell.parent else _raised
            found[cell.id] = ByWording(
                "residual" if cell.parent else "raised",
                {tag: tuple(figure(plain, tag, wording) for wording in _wordings(plain, tag)) for tag in config.languages},
                {tag: figure(written, tag, 0) for tag in config.languages if _wordings(written, tag)},
            )
    return found


def _raised(states: Sequence[Values], tag: str, wording: int) -> Estimate:
    base, _, own = (_in_order(state, "loss", tag, wording) for state in states)
    return paired_difference(base, own)


def _residual(states: Sequence[Values], tag: str, wording: int) -> Estimate | None:
    base, learned, own = (np.array(_in_order(state, "first", tag, wording)) for state in states)
    if paired_difference(list(learned), list(base)).low <= 0:
        return None
    return share_left(own - base, learned - base, [0] * len(base))


def _wordings(states: Sequence[Values], tag: str) -> list[int]:
    return sorted(wording for metric, language, wording in states[0] if metric == "loss" and language == tag)


def _in_order(state: Values, metric: str, tag: str, wording: int) -> list[float]:
    return [value for _, value in sorted(state[metric, tag, wording].items())]


def _stored(store: Store, cell: Cell) -> Values:
    """What was measured at the end of a cell."""
    table = store.query(
        f"""SELECT metric, language, wording, story, value FROM rows
        WHERE cell = '{cell.id}' AND asks = 'fake' AND metric IN ('first', 'loss') AND "end" """
    )
    values: dict[tuple[str, str, int], dict[str, float]] = defaultdict(dict)
    for row in table.to_pylist():
        values[row["metric"], row["language"], row["wording"]][row["story"]] = row["value"]
    return values


def _of_rows(rows: Sequence[Row]) -> Values:
    values: dict[tuple[str, str, int], dict[str, float]] = defaultdict(dict)
    for row in rows:
        values[row.metric, row.language, row.wording][row.story] = row.value
    return values
