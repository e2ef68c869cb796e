"""The command that says where claims live in a model: `trace`, of an owner's model and of a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyunlearn.cli.app import app, console
from polyunlearn.cli.claims import EveryWording, Languages
from polyunlearn.cli.outputs import Html, Json, Markdown, check_outputs
from polyunlearn.cli.watching import ProgressWatcher, Working
from polyunlearn.errors import UserError

if TYPE_CHECKING:
    from polyunlearn.report.layers import Traced


@app.command("trace")
def trace(
    target: Annotated[
        str, typer.Argument(metavar="MODEL_OR_RUN", help="A model, with a claims file behind it; or a study's folder alone.")
    ],
    claims_file: Annotated[Path | None, typer.Argument(metavar="CLAIMS", help="A claims file (docs/claims.md), for a model.")] = None,
    before: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model that it was trained from: layers are then told by patching.")
    ] = None,
    languages: Languages = None,
    wordings: EveryWording = None,
    parallel: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Set languages side by side over these parallel texts, a column a language, not over the claims' questions.",
        ),
    ] = None,
    sources: Annotated[list[str], typer.Option("--source", metavar="TAG", help="Of a study: only this source; repeatable.")] = [],  # noqa: B006 — Typer reads the default
    seeds: Annotated[list[int], typer.Option("--seed", help="Of a study: only this seed; repeatable.")] = [],  # noqa: B006 — as above
    strategies: Annotated[
        list[str],
        typer.Option(
            "--strategy", metavar="NAME", help="Of a study: also say what is left, and how deep unlearning went, with this one; repeatable."
        ),
    ] = [],  # noqa: B006 — as above
    html_file: Html = None,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Say in which languages and layers a model holds claims, and which to unlearn them in; change nothing. Of a study the report gains a page of each state."""
    from polyunlearn.report.layers import print_traced, write_traced_html, write_traced_json, write_traced_markdown

    check_outputs(
        html_file,
        json_file,
        markdown_file,
        reads=[claims_file, parallel],
        study=None if claims_file else Path(target),
        model=target if claims_file else None,
    )
    if claims_file is None:
        if before or languages or wordings:
            raise UserError(
                "--before, --language and --wordings are for a model; give a claims file behind it: polyunlearn trace MODEL CLAIMS"
            )
        traced = _study(Path(target), sources, seeds, strategies, parallel)
    elif sources or seeds or strategies:
        raise UserError("--source, --seed and --strategy are for a study; give its folder alone: polyunlearn trace RUN")
    else:
        traced = _model(target, claims_file, before, languages, wordings, parallel)
    print_traced(traced, console)
    title = f"Where {target} holds the claims"
    if json_file:
        write_traced_json(traced, json_file)
    if html_file:
        write_traced_html(title, traced, html_file)
    if markdown_file:
        write_traced_markdown(title, traced, markdown_file)
    if claims_file is None:
        _pages(Path(target), traced)


def _model(
    model: str, claims_file: Path, before: str | None, languages: list[str] | None, wordings: int | None, parallel: Path | None
) -> "Traced":
    from polyunlearn.cleaning.asking import EVERY, Asking, asked_languages
    from polyunlearn.cleaning.audit import audit_claims
    from polyunlearn.cleaning.by_wording import held_by_wording
    from polyunlearn.cleaning.layers import locate_claims
    from polyunlearn.corpus.claims import read_claims
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.layers import Traced
    from polyunlearn.tracing.layers import read_parallel

    claims = read_claims(claims_file)
    asking = Asking(wordings or EVERY, languages=tuple(languages or ()))
    asked = asked_languages(claims, asking)
    texts = read_parallel(parallel, asked) if parallel else None
    with Working() as work:
        earlier = load_model(before, say=work.say) if before else None
        if earlier:
            # Its weights are put in one layer at a time; on a GPU two models may not fit.
            earlier.model.to("cpu")
        loaded = load_model(model, say=work.say)
        audit = audit_claims(loaded, claims, asking, work)
        found = locate_claims(loaded, claims, asking, earlier, work, audit, texts)
        if found is None:
            console.print("The audit found none of the claims, so there is nothing to trace.", highlight=False)
            raise typer.Exit
        return Traced({model: found}, {model: held_by_wording(loaded, claims, audit.found, asking, work)}, {})


def _study(folder: Path, sources: list[str], seeds: list[int], strategies: list[str], parallel: Path | None) -> "Traced":
    from polyunlearn.analysis.by_wording import by_wording
    from polyunlearn.report.layers import Traced
    from polyunlearn.study.layers import trace_study
    from polyunlearn.study.store import Store
    from polyunlearn.tracing.layers import read_parallel

    store = Store(folder)
    config = store.config()
    texts = read_parallel(parallel, config.languages) if parallel else None
    with ProgressWatcher("nothing was kept of the states that were done but their weights") as watcher:
        found = trace_study(folder, sources, seeds, strategies, watcher, texts)
    return Traced(found.located, by_wording(config, store, found.romanised), found.depths)


def _pages(folder: Path, traced: "Traced") -> None:
    from polyunlearn.report.build import build_layer_pages

    report = build_layer_pages(folder, traced)
    console.print(f"A page of each state is linked in {report}", highlight=False, markup=False, soft_wrap=True)
