"""A small finished study whose rows are written by hand: four stories, sources Urdu only, one strategy.

Values are per story and, in a tuple, per wording. See the tests for what follows from them.
"""

from pathlib import Path
from typing import Any

from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import CellRecord, Store

PerStory = list[float | tuple[float, ...]]
Values = dict[tuple[str, str, str], PerStory]
"""By language, what is asked, and metric."""


def config(**changes: Any) -> StudyConfig:
    settings: dict[str, Any] = {
        "name": "by hand",
        "stories": 4,
        "languages": ("en", "de", "ur"),
        "sources": ("ur",),
        "strategies": ("source",),
    }
    return StudyConfig(**(settings | changes))


def manifest(study: StudyConfig) -> dict[str, Any]:
    return {
        "study": {
            "config": study.model_dump(mode="json"),
            "model": {"name": "tiny", "fingerprint": "0"},
        },
        "machine": {"device": "cpu"},
        "packages": {"polyunlearn": "0", "torch": "0"},
    }


BASE: Values = {
    ("en", "fake", "first"): [(0, 0), (0, 0), (0, 0), (0, 0)],
    ("de", "fake", "first"): [0, 1, 0, 0],
    ("ur", "fake", "first"): [1, 0, 0, 0],
    **{(tag, "real", "first"): [1, 1, 1, 1] for tag in ("en", "de", "ur")},
    **{(tag, "fake", "probability"): [0.1, 0.1, 0.1, 0.1] for tag in ("en", "de", "ur")},
    **{(tag, "fake", "says"): [(0, 0), (0, 0), (0, 0), (0, 0)] for tag in ("en", "de", "ur")},
    **{(tag, "real", "loss"): [2, 2, 2, 2] for tag in ("en", "de", "ur")},
    **{(tag, "text", "bits_per_byte"): [2, 2] for tag in ("en", "de", "ur")},
}
LEARNED: Values = BASE | {
    ("en", "fake", "first"): [(1, 1), (1, 1), (1, 0), (1, 1)],
    ("de", "fake", "first"): [0, 1, 1, 0],
    ("ur", "fake", "first"): [1, 1, 1, 1],
    ("en", "fake", "probability"): [0.4, 0.4, 0.6, 0.6],
    ("ur", "fake", "probability"): [0.9, 0.9, 0.7, 0.7],
    ("en", "fake", "says"): [(1, 1), (1, 0), (0, 0), (0, 0)],
    ("de", "real", "loss"): [1, 1, 2, 2],
}
UNLEARNED: Values = BASE | {
    ("en", "fake", "first"): [(1, 0), (0, 0), (0, 0), (0, 0)],
    ("de", "fake", "first"): [0, 0, 0, 0],
    ("ur", "fake", "first"): [1, 0, 0, (1, 0)],
}


def rows(values: Values, step: int = 0, end: bool = True, texts: dict[str, str] | None = None) -> list[Row]:
    """The rows of these values; answers of a language, where `texts` has one, stand on its "says" rows."""
    result = []
    for (tag, asks, metric), stories in values.items():
        for number, value in enumerate(stories):
            wordings = value if isinstance(value, tuple) else (value,)
            for wording, one in enumerate(wordings):
                text = (texts or {}).get(tag, "") if metric == "says" else ""
                place = -1 if asks == "text" else wording
                result.append(Row(step, end, f"story-{number}", tag, asks, place, metric, float(one), text))
    return result


def written(folder: Path, study: StudyConfig, unlearned: Values = UNLEARNED, *, middle: Values | None = None, **more: Any) -> Store:
    """A store with every cell of the study; gold is as base. `middle` is measured after 2 of the 4 steps of unlearning."""
    store = Store(folder)
    store.open(manifest(study))
    for cell in study_cells(study):
        write(store, cell, unlearned, middle, **more)
    return store


def write(store: Store, cell: Cell, unlearned: Values, middle: Values | None = None, texts: dict[str, str] | None = None) -> None:
    values = {"base": BASE, "gold": BASE, "learned": LEARNED, "unlearned": unlearned}[cell.state]
    steps = {"base": 0, "gold": 8, "learned": 9, "unlearned": 4}[cell.state]
    on_the_way = rows(middle, 2, end=False) if middle and cell.state == "unlearned" else []
    store.write(cell, on_the_way + rows(values, steps, texts=texts), CellRecord(steps, 100 * steps, 1.5, 2**30, [0.5] * steps))
