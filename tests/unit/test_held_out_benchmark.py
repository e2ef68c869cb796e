"""What the benchmark of running text counts (benchmarks/held_out.py)."""

from pathlib import Path

import handmade
import pytest
from scripts import benchmark

from polyunlearn.analysis.summary import Values
from polyunlearn.study.cells import study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import study_stories
from polyunlearn.study.store import CellRecord, Store

script = benchmark("held_out")


def test_articles_that_nothing_read() -> None:
    """Five, none of which the study trains on, retains or measures, in its languages."""
    config = StudyConfig.model_validate(
        {
            "name": "x",
            "stories": 4,
            "neighbours": 2,
            "retain_stories": 3,
            "languages": ("en", "de"),
            "sources": ("de",),
            "scoring": {"held_out_stories": 2},
        }
    )
    stories = study_stories(config, 7)
    read = [story for part in (stories.trained, stories.neighbours, stories.retained, stories.held_out) for story in part]
    found = script.unread_stories(config, 7, 5)
    assert len(found) == 5 and len(read) == 11 and {"en", "de"} <= set(found[0].editions)
    assert not {story.editions["en"].article for story in found} & {story.editions["en"].article for story in read}


def test_a_rise_by_hand() -> None:
    """Seed 0: 2 → 3 and 2 → 2; seed 1: 1 → 1 and 3 → 2. In all 8 → 8: none, though an article rose by half. Seeds alone give +1/4 and −1/4, so the
    interval holds both."""
    found = script.rise({0: [2.0, 2.0], 1: [1.0, 3.0]}, {0: [3.0, 2.0], 1: [1.0, 2.0]})
    assert (found.mean, found.n) == (0, 4)
    assert found.low <= -0.25 and found.high >= 0.25
    same = script.rise({0: [2.0, 4.0]}, {0: [1.0, 2.0]})
    assert (same.mean, same.low, same.high) == pytest.approx((-0.5, -0.5, -0.5))


def test_lost_quality_by_hand(tmp_path: Path) -> None:
    """Two seeds of four stories, all known before. Afterwards one of eight has gone in Urdu, an eighth, which draws may miss or take up to three times of
    four with its seed alone; none in English. In German the learned state of one seed knew a single story, so it is not judged."""
    study = handmade.config(seeds=(0, 1))
    store = Store(tmp_path)
    store.open(handmade.manifest(study))
    cells = list(study_cells(study))
    for cell in cells:
        weak = {("de", "real", "first"): [1.0, 0.0, 0.0, 0.0]} if cell.seed else {}
        gone = {("ur", "real", "first"): [1.0, 1.0, 0.0, 1.0]} if cell.state == "unlearned" and cell.seed else {}
        store.write(cell, handmade.rows(handmade.BASE | weak | gone), CellRecord(0, 0, 1.5, 2**30, []))
    found = script.quality_lost(Values(store), [cell for cell in cells if cell.parent], study.languages)
    assert set(found) == {"en", "ur"} and (found["en"].mean, found["en"].low, found["en"].high) == (0, 0, 0)
    assert found["ur"].mean == 1 / 8 and found["ur"].low == 0 and 1 / 4 <= found["ur"].high <= 3 / 4
