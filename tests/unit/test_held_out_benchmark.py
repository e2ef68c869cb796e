"""What the benchmark of running text counts (benchmarks/held_out.py)."""

import pytest
from scripts import benchmark

from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import study_stories

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
