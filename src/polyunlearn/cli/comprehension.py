"""The command that asks a model about articles that it has just read, and teaches it to answer: `comprehend`."""

from pathlib import Path
from typing import Annotated

import typer

from polyunlearn.cli.app import app, console, refuse
from polyunlearn.cli.claims import Languages, Model
from polyunlearn.cli.outputs import Json, Markdown, check_outputs
from polyunlearn.cli.watching import Working
from polyunlearn.errors import UserError


@app.command("comprehend")
def comprehend(
    context: typer.Context,
    model: Model,
    languages: Languages = None,
    stories: Annotated[int, typer.Option(min=2, help="How many newsroom stories are read.")] = 24,
    candidates: Annotated[int, typer.Option(min=2, help="Among how many answers each is ranked.")] = 8,
    ways: Annotated[
        list[str], typer.Option("--teach", metavar="WAY", help="Then teach it, together or in branches, and ask again; repeatable.")
    ] = [],  # noqa: B006 — Typer reads the default
    taught: Annotated[int, typer.Option("--taught-stories", min=1, help="Of --teach: how many other stories it is taught with.")] = 24,
    steps: Annotated[int, typer.Option(min=1, help="Of --teach: steps of 8 exercises.")] = 48,
    rate: Annotated[float, typer.Option(help="Of --teach: the learning rate.")] = 1e-4,
    seeds: Annotated[list[int], typer.Option("--seed", min=0, help="Of --teach: a seed, each with other stories; repeatable.")] = [0],  # noqa: B006 — as above
    out: Annotated[Path | None, typer.Option(help="Of --teach in one way with one seed: a folder for the taught model.")] = None,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Ask in one language about an article in another, every language with every other; teach that, where asked, and leave the model as it was."""
    from polyunlearn.cleaning.export import check_target, write_model
    from polyunlearn.comprehension.asking import comprehension
    from polyunlearn.comprehension.teaching import Teaching, taught_and_asked
    from polyunlearn.corpus.newsroom import generate_stories
    from polyunlearn.languages import PAPER_LANGUAGES
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.comprehension import (
        print_comprehension,
        print_lesson,
        write_comprehension_json,
        write_comprehension_markdown,
    )

    if out:
        check_target(out, model)
    check_outputs(json_file, markdown_file, out, model=model)
    chosen = tuple(dict.fromkeys(languages or PAPER_LANGUAGES))
    unknown = [tag for tag in chosen if tag not in PAPER_LANGUAGES]
    if unknown:
        raise UserError(f"--language {unknown[0]!r}: the newsroom writes in {', '.join(PAPER_LANGUAGES)}")
    if candidates > stories:
        raise UserError(
            f"--candidates {candidates}: answers are ranked among those of {stories} stories; give --stories {candidates} or more"
        )
    if not ways:
        refuse(context, "taught", "steps", "rate", "seeds", "out", beside="without --teach nothing is taught")
    teaching = Teaching(tuple(dict.fromkeys(ways)), taught, steps, rate, tuple(dict.fromkeys(seeds)))
    if ways:
        teaching.check(chosen)
    if out and len(teaching.ways) * len(teaching.seeds) > 1:
        raise UserError(f"--out {out}: holds one model; give one --teach and one --seed")
    with Working() as work:
        loaded, asked = load_model(model, say=work.say), generate_stories(stories, 0, chosen)

        def write() -> None:
            if out:
                write_model(loaded, out, beside=lambda folder: None)

        lesson = taught_and_asked(loaded, asked, chosen, candidates, teaching, work, write) if ways else None
        readings = lesson.before if lesson else comprehension(loaded, asked, chosen, candidates, work)
    print_comprehension(readings, console)
    if lesson:
        print_lesson(lesson, console)
    if json_file:
        write_comprehension_json(readings, json_file, lesson)
    if markdown_file:
        write_comprehension_markdown(readings, loaded.name, markdown_file, lesson)
