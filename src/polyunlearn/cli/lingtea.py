"""The command that unlearns real facts and texts as LINGTEA does, and as we do: `study lingtea`."""

from pathlib import Path
from typing import Annotated

import typer

from polyunlearn.cli.app import console, study_app
from polyunlearn.cli.outputs import Json, Markdown, check_outputs
from polyunlearn.cli.watching import ProgressWatcher


@study_app.command("lingtea")
def study_lingtea(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder of LINGTEA's data: bmlama53/ and flores200/ (docs/systems.md).")],
    task: Annotated[str, typer.Option(help="facts (BMLAMA-53) or texts (FLORES-200).")],
    out: Annotated[Path, typer.Option(help="The run's folder; an unfinished run there goes on.")],
    model: Annotated[str, typer.Option(help="embedded, a model's folder, or a Hugging Face name.")] = "embedded",
    languages: Annotated[
        list[str] | None, typer.Option("--language", metavar="TAG", help="Only in this language; repeatable. LINGTEA's if not given.")
    ] = None,
    ways: Annotated[list[str] | None, typer.Option("--way", metavar="NAME", help="Only this way (docs/systems.md); repeatable.")] = None,
    seeds: Annotated[list[int], typer.Option("--seed", min=0, help="A seed; repeatable.")] = [1, 2, 3],  # noqa: B006 — Typer reads the default
    steps: Annotated[int, typer.Option(min=1, help="The most steps.")] = 72,
    batch: Annotated[int, typer.Option(min=1, help="Items to forget, or to retain, in a step.")] = 8,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="End after so many epochs without a lower score of what is to be forgotten, and keep the lowest."),
    ] = None,
    from_layer: Annotated[int | None, typer.Option(min=0, help="The first layer that trains.")] = None,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Unlearn real facts or texts in many languages: LINGTEA's way, as published and corrected, beside ours."""
    from polyunlearn.lingtea.run import Settings, run_lingtea
    from polyunlearn.lingtea.store import Results
    from polyunlearn.lingtea.tasks import read_task
    from polyunlearn.lingtea.ways import check_ways
    from polyunlearn.report.lingtea import Found, print_lingtea, write_lingtea_json, write_lingtea_markdown

    check_outputs(json_file, markdown_file, study=out, model=model)
    chosen = check_ways(ways or ())  # Before any data are read.
    own = read_task(task, data, languages or ())
    with ProgressWatcher() as watcher:
        run_lingtea(own, model, out, chosen, seeds, Settings(steps, batch, patience, from_layer), watcher)
    found = Found.of(Results(out))
    print_lingtea(found, console)
    if json_file:
        write_lingtea_json(found, json_file)
    if markdown_file:
        write_lingtea_markdown(found, markdown_file)
