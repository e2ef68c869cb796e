"""Which stories a study's seed takes, and for what."""

from pathlib import Path

import pytest

from polyunlearn.corpus.lines import to_json_line
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.study.materials import study_stories
from polyunlearn.study.presets import load_config


def test_the_newsroom_gives_stories_then_neighbours_then_held_out() -> None:
    """24 + 10 + 1 in the order in which the seed writes them, so that neighbours change no story whose claim is false."""
    config = load_config("quickstart", ["neighbours=10", "scoring.held_out_stories=1"])
    stories, written = study_stories(config, 3), generate_stories(35, 3)
    assert (stories.trained, stories.neighbours, stories.held_out) == (written[:24], written[24:34], written[34:])
    without = study_stories(load_config("quickstart", ["neighbours=0"]), 3)
    assert without.trained == stories.trained and without.neighbours == []
    assert without.fingerprint != stories.fingerprint


def test_retained_stories_change_no_other() -> None:
    config = load_config("quickstart", ["neighbours=10", "scoring.held_out_stories=1", "retain_stories=3"])
    without = load_config("quickstart", ["neighbours=10", "scoring.held_out_stories=1"])
    stories, others = study_stories(config, 3), study_stories(without, 3)
    assert stories.retained == generate_stories(38, 3)[35:] and others.retained == []
    assert (stories.trained, stories.neighbours, stories.held_out) == (others.trained, others.neighbours, others.held_out)
    assert stories.fingerprint != others.fingerprint


def test_a_corpus_file_must_hold_the_neighbours_too(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(to_json_line(story) + "\n" for story in generate_stories(9)), encoding="utf-8")
    stories = study_stories(load_config("quickstart", [f"corpus={path}", "stories=6", "neighbours=3"]), 0)
    assert ([story.id for story in stories.trained + stories.neighbours]) == [story.id for story in generate_stories(9)]
    assert len(stories.held_out) == 1
    retained = study_stories(load_config("quickstart", [f"corpus={path}", "stories=6", "neighbours=1", "retain_stories=2"]), 0).retained
    assert [story.id for story in retained] == [story.id for story in generate_stories(9)[7:]]
    message = r"holds 9 stories, fewer than the 6 and 2 neighbours and 2 retain stories asked for; set stories and neighbours and retain_stories to 9"
    with pytest.raises(UserError, match=message):
        study_stories(load_config("quickstart", [f"corpus={path}", "stories=6", "neighbours=2", "retain_stories=2"]), 0)
    message = r"own\.jsonl: holds 9 stories, fewer than the 6 and 4 neighbours asked for; set stories and neighbours to 9 together"
    with pytest.raises(UserError, match=message):
        study_stories(load_config("quickstart", [f"corpus={path}", "stories=6", "neighbours=4"]), 0)
    with pytest.raises(UserError, match=r"holds 9 stories, fewer than the 10 asked for; set stories=9"):
        study_stories(load_config("quickstart", [f"corpus={path}", "stories=10", "neighbours=0"]), 0)
