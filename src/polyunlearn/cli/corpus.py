"""Commands on the embedded model and on corpora."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from polyunlearn.cli.app import console, corpus_app, errors, model_app
from polyunlearn.cli.outputs import check_new
from polyunlearn.errors import UserError

_MOST = 100_000


@model_app.command("fetch")
def model_fetch() -> None:
    """Build the embedded model (Gemma 3 270M) in the cache, unless it is there; print its folder."""
    from polyunlearn.models.embedded import fetch_embedded

    folder = fetch_embedded(lambda text: errors.print(text))
    print(folder)


@corpus_app.command("show")
def corpus_show(
    story: Annotated[str, typer.Argument(help="A story's id, or its number from 0.")],
    language: Annotated[str, typer.Option(metavar="TAG", help="The language to show it in.")] = "en",
    stories: Annotated[int, typer.Option(min=1, help="How many stories to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="The seed of the newsroom.")] = 0,
) -> None:
    """Show one story: both articles, the questions and what they reveal."""
    from polyunlearn.corpus.newsroom import generate_stories
    from polyunlearn.report.story import print_story

    if story.isdecimal() and int(story) >= _MOST:
        raise UserError(
            f"story {story}: the newsroom draws stories one after another; a number below {_MOST:,} takes seconds, this would not"
        )
    count = max(stories, int(story) + 1) if story.isdecimal() else stories
    drawn = generate_stories(count, seed, (language,))
    found = [drawn[int(story)]] if story.isdecimal() else [item for item in drawn if item.id == story]
    if not found:
        raise UserError(
            f"no story {story!r} among the {count} of seed {seed}; list their ids with: polyunlearn corpus export --stories {count}"
        )
    print_story(found[0], language, console)


@corpus_app.command("export")
def corpus_export(
    stories: Annotated[int, typer.Option(min=1, help="How many stories to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="The seed of the newsroom.")] = 0,
    format: Annotated[str, typer.Option(help="jsonl, the only one.")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="The file to write; standard output if not given.")] = None,
) -> None:
    """Write the built-in stories as JSON lines, in the schema of docs/corpus.md."""
    from polyunlearn.corpus.jsonl import write_stories
    from polyunlearn.corpus.lines import to_json_line
    from polyunlearn.corpus.newsroom import generate_stories

    if format != "jsonl":
        raise UserError(f"unknown format {format!r}; the only one is jsonl")
    if out:
        check_new(out)
    drawn = generate_stories(stories, seed)
    if out:
        write_stories(drawn, out)
    else:
        for story in drawn:
            sys.stdout.write(to_json_line(story, leave_out_defaults=True))


@corpus_app.command("check")
def corpus_check(file: Annotated[Path, typer.Argument(help="A corpus in JSONL.")]) -> None:
    """Check a corpus of your own; name every bad line."""
    from polyunlearn.corpus.jsonl import read_stories

    stories = read_stories(file)
    print(f"{file}: {len(stories)} stories in {', '.join(stories[0].editions)}; nothing to mend")
