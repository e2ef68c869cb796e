"""Stories as JSON lines: one story a line, in the schema of `stories.Story`; documented for users in docs/corpus.md."""

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.files import read_utf8, write_text_atomically
from polyunlearn.languages import get_language


def read_stories(path: Path) -> list[Story]:
    """Read a corpus file; raise one `UserError` that lists every bad line with its number, what is wrong and what to do."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such corpus file")
    stories: list[Story] = []
    problems: list[str] = []
    lines: dict[str, int] = {}
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            story = Story.model_validate(json.loads(line))
            for tag in story.editions:
                get_language(tag)
        except json.JSONDecodeError as error:
            problems.append(f"{path}:{number}: not JSON ({error.msg} at column {error.colno}); write one JSON object a line")
        except ValidationError as error:
            problems += [f"{path}:{number}: {_where(item)}{item['msg']}" for item in error.errors()]
        except UserError as error:
            problems.append(f"{path}:{number}: {error}")
        else:
            if story.id in lines:
                problems.append(f"{path}:{number}: story id {story.id!r} was used on line {lines[story.id]}; give each story its own")
            lines[story.id] = number
            stories.append(story)
    problems += _problems_across(path, stories, lines)
    if problems:
        raise UserError("\n".join(problems))
    if not stories:
        raise UserError(f"{path}: holds no story; write one JSON object a line")
    return stories


def write_stories(stories: Iterable[Story], path: Path) -> None:
    """Write one story a line, atomically; the same stories give the same bytes."""
    write_text_atomically(path, "".join(to_json_line(story) for story in stories))


def to_json_line(story: Story) -> str:
    """One story as one line of JSON, newline included; text stays readable in its own script."""
    return json.dumps(story.model_dump(mode="json"), ensure_ascii=False) + "\n"


def _where(item: object) -> str:
    location = item["loc"]  # type: ignore[index]
    return f"field {'.'.join(str(part) for part in location)}: " if location else ""


def _problems_across(path: Path, stories: list[Story], lines: dict[str, int]) -> list[str]:
    """What no single line shows: differing languages, and a keyword that another story mentions."""
    problems: list[str] = []
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
