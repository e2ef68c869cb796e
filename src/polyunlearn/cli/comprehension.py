"""The command that asks a model about articles that it has just read."""

from typing import Annotated

import typer

from polyunlearn.cli.app import app, console
from polyunlearn.cli.claims import Json, Languages, Model
from polyunlearn.cli.outputs import check_outputs
from polyunlearn.cli.study import MarkdownFile
from polyunlearn.cli.watching import Working


@app.command("comprehend")
def comprehend(
    model: Model,
    languages: Languages = None,
    stories: Annotated[int, typer.Option(min=2, help="How many newsroom stories are read.")] = 24,
    candidates: Annotated[int, typer.Option(min=2, help="Among how many answers each is ranked.")] = 8,
    json_file: Json = None,
    markdown_file: MarkdownFile = None,
) -> None:
    """Ask in one language about an article in another, every language with every other."""
    from polyunlearn.corpus.newsroom import generate_stories
    from polyunlearn.errors import UserError
    from polyunlearn.languages import PAPER_LANGUAGES
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.comprehension import print_comprehension, write_comprehension_json, write_comprehension_markdown
    from polyunlearn.scoring.comprehension import comprehension

    check_outputs(json_file, markdown_file, model=model)
    chosen = tuple(dict.fromkeys(languages or PAPER_LANGUAGES))
    unknown = [tag for tag in chosen if tag not in PAPER_LANGUAGES]
    if unknown:
        raise UserError(f"--language {unknown[0]!r}: the newsroom writes in {', '.join(PAPER_LANGUAGES)}")
    with Working() as work:
        loaded = load_model(model, say=work.say)
        readings = comprehension(loaded, generate_stories(stories, 0, chosen), chosen, candidates)
    print_comprehension(readings, console)
    if json_file:
        write_comprehension_json(readings, json_file)
    if markdown_file:
        write_comprehension_markdown(readings, loaded.name, markdown_file)
