"""Which stories a study's seed takes, and for what."""

from dataclasses import replace
from pathlib import Path

import pytest

from polyunlearn.corpus.jsonl import write_stories
from polyunlearn.corpus.lines import to_json_line
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.study.materials import study_stories
from polyunlearn.study.presets import load_config
from polyunlearn.study.states import stories_identity


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


@pytest.mark.parametrize("culture", ["specific", "agnostic"])
def test_a_study_takes_stories_of_one_culture(tmp_path: Path, culture: str) -> None:
    """Specific are stories with a home among the study's languages; a home outside of these is none. In the order of the seed, and the same from a file."""
    changes = ["languages=[en,de,fr]", "sources=[de]", "neighbours=3", "retain_stories=2", "scoring.held_out_stories=1", "stories=6"]
    config = load_config("quickstart", [*changes, f"culture={culture}"])
    wanted = [
        story for story in generate_stories(200, 3, ("en", "de", "fr")) if (story.home in ("en", "de", "fr")) == (culture == "specific")
    ]
    found = study_stories(config, 3)
    assert (found.trained, found.neighbours, found.held_out, found.retained) == (wanted[:6], wanted[6:9], wanted[9:10], wanted[10:12])
    path = tmp_path / "own.jsonl"
    write_stories(generate_stories(60, 3), path)
    read = study_stories(load_config("quickstart", [*changes, f"culture={culture}", f"corpus={path}"]), 3)
    assert [story.id for story in read.trained] == [story.id for story in found.trained] and read.homes == found.homes
    message = rf"holds \d+ stories that are {culture} \(their \"home\" decides; culture=any takes all\), fewer than the 60 and 3 neighbours"
    with pytest.raises(UserError, match=message):
        study_stories(load_config("quickstart", [*changes, f"culture={culture}", f"corpus={path}", "stories=60"]), 3)


def test_a_home_is_in_what_tells_studies_apart_only_where_it_counts(tmp_path: Path) -> None:
    """So that studies of before there were homes go on."""
    agnostic = load_config("quickstart", ["learning.agnostic=english"])
    plain, home = (load_config("quickstart", [f"unlearning.goal={goal}"]) for goal in ("everywhere", "home"))
    stories = study_stories(plain, 3)
    untagged = replace(stories, trained=[story.model_copy(update={"home": None}) for story in stories.trained])
    assert untagged.fingerprint == stories.fingerprint and stories_identity(plain, untagged) == stories_identity(plain, stories)
    assert stories_identity(home, stories)["homes"] == stories.homes != {} and stories_identity(home, untagged)["homes"] == {}
    # Neighbours are pruned too.
    told = [story.id for story in (*stories.trained, *stories.neighbours) if not story.home]
    assert stories_identity(agnostic, stories)["agnostic"] == sorted(told) and 0 < len(told) < 34


def test_where_every_story_has_a_home_none_can_be_pruned(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    stories = [story for story in generate_stories(30, 3) if story.home]
    write_stories(stories, path)
    changes = [f"corpus={path}", "stories=6", "neighbours=2", "retain_stories=0"]
    assert len(study_stories(load_config("quickstart", changes), 3).trained) == 6
    with pytest.raises(
        UserError, match=r"own.jsonl: every story has a home among the languages, so that learning.agnostic=english prunes none"
    ):
        study_stories(load_config("quickstart", [*changes, "learning.agnostic=english"]), 3)


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
