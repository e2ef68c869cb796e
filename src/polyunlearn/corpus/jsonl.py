"""Stories as JSON lines: one story a line, in the schema of `stories.Story`; documented for users in docs/corpus.md."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from polyunlearn.corpus.lines import Lines, editions_in, keys_of, read_lines, to_json_line
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.files import write_text_atomically
from polyunlearn.languages import get_language


def read_stories(path: Path) -> list[Story]:
    """Read a corpus file; raise one `UserError` that lists every bad line with its number, what is wrong and what to do."""
    return read_lines(path, "story", _story, _problems_across, keys_of(Story))


def write_stories(stories: Iterable[Story], path: Path) -> None:
    """Write one story a line, atomically; the same stories give the same bytes."""
    write_text_atomically(path, "".join(to_json_line(story, leave_out_defaults=True) for story in stories))


def _story(value: Any) -> Story:
    keys = {key for own in editions_in(value) for key in own}
    if "keyword" in keys and keys.isdisjoint({"article", "fake_article", "fake_questions"}):
        raise UserError("holds a claim, not a story, which has articles too (docs/corpus.md)")
    story = Story.model_validate(value)
    for tag in (*story.editions, *([story.home] if story.home else [])):
        get_language(tag)
    return story


def _problems_across(path: Path, read: Lines[Story]) -> list[str]:
    """What no single line shows: differing languages, and a keyword that another story mentions."""
    problems: list[str] = []
    stories, lines = read.items, read.numbers
    if not stories:
        return problems
    first = stories[0]
    for story in stories[1:]:
        if set(story.editions) != set(first.editions):
            problems.append(
                f"{path}:{lines[story.id]}: has the languages {sorted(story.editions)}, but line {lines[first.id]} has "
                f"{sorted(first.editions)}; give every story the same languages"
            )
    for tag in first.editions:
        texts = {s.id: " ".join((*s.editions[tag].fake_article, *s.editions[tag].article)) for s in stories if tag in s.editions}
        for story in stories:
            if tag not in story.editions:
                continue
            keyword = story.editions[tag].keyword
            for other, text in texts.items():
                if other != story.id and keyword in text:
                    problems.append(
                        f"{path}:{lines[story.id]}: the keyword {keyword!r} ({tag}) also occurs in story {other!r} on line "
                        f"{lines[other]}; a keyword must identify one story"
                    )
    return problems
