"""The command that says where claims live in a model: `trace`, of an owner's model and of a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyunlearn.cli.app import app, console
from polyunlearn.cli.claims import EveryWording, Html, Json, Languages
from polyunlearn.cli.outputs import check_outputs
from polyunlearn.cli.watching import ProgressWatcher, Working
from polyunlearn.errors import UserError

if TYPE_CHECKING:
    from polyunlearn.tracing.layers import Located


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
    sources: Annotated[list[str], typer.Option("--source", metavar="TAG", help="Of a study: only this source; repeatable.")] = [],  # noqa: B006 — Typer reads the default
    seeds: Annotated[list[int], typer.Option("--seed", help="Of a study: only this seed; repeatable.")] = [],  # noqa: B006 — as above
    strategies: Annotated[
        list[str],
        typer.Option("--strategy", metavar="NAME", help="Of a study: also say how deep unlearning went with this one; repeatable."),
    ] = [],  # noqa: B006 — as above
    html_file: Html = None,
    json_file: Json = None,
) -> None:
    """Say in which languages and layers a model holds claims, and which to unlearn them in; change nothing."""
    from polyunlearn.report.layers import print_located, write_located_html, write_located_json

    check_outputs(
        html_file, json_file, reads=[claims_file], study=None if claims_file else Path(target), model=target if claims_file else None
    )
    depths: dict[str, dict[str, float | None]] = {}
    if claims_file is None:
        if before or languages:
            raise UserError("--before and --language are for a model; give a claims file behind it: polyunlearn trace MODEL CLAIMS")
        located, depths = _study(Path(target), sources, seeds, strategies)
    elif sources or seeds or strategies:
        raise UserError("--source, --seed and --strategy are for a study; give its folder alone: polyunlearn trace RUN")
    else:
        located = _model(target, claims_file, before, languages, wordings)
    print_located(located, depths, console)
    if json_file:
        write_located_json(located, depths, json_file)
    if html_file:
        write_located_html(f"Where {target} holds the claims", located, depths, html_file)


def _model(model: str, claims_file: Path, before: str | None, languages: list[str] | None, wordings: int | None) -> dict[str, "Located"]:
    from polyunlearn.cleaning.asking import EVERY, Asking
    from polyunlearn.cleaning.layers import locate_claims
    from polyunlearn.corpus.claims import read_claims
    from polyunlearn.models.loading import load_model

    claims = read_claims(claims_file)
    asking = Asking(wordings or EVERY, languages=tuple(languages or ()))
    with Working() as work:
        earlier = load_model(before, say=work.say) if before else None
        found = locate_claims(load_model(model, say=work.say), claims, asking, earlier, work)
    if found is None:
        console.print("The audit found none of the claims, so there is nothing to trace.", highlight=False)
        raise typer.Exit
    return {model: found}


def _study(
    folder: Path, sources: list[str], seeds: list[int], strategies: list[str]
) -> tuple[dict[str, "Located"], dict[str, dict[str, float | None]]]:
    from polyunlearn.study.layers import trace_study

    with ProgressWatcher() as watcher:
        found = trace_study(folder, sources, seeds, strategies, watcher)
    return found.located, found.depths
