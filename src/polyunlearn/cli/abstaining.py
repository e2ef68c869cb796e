"""The command that says what a model answers when it is asked for claims, and when it had better not: `abstain`."""

from typing import TYPE_CHECKING, Annotated

import typer

from polyunlearn.cli.app import app, console
from polyunlearn.cli.claims import Claims, Languages, Model, Wordings
from polyunlearn.cli.outputs import Json, Markdown, check_outputs
from polyunlearn.cli.watching import Working
from polyunlearn.errors import UserError

if TYPE_CHECKING:
    from polyunlearn.abstaining.feedback import Judged


@app.command("abstain")
def abstain(
    model: Model,
    claims_file: Claims,
    modes: Annotated[list[str], typer.Option("--mode", metavar="NAME", help="Only this feedback (docs/abstaining.md); repeatable.")] = [],  # noqa: B006 — Typer reads the default
    feedback: Annotated[bool, typer.Option("--feedback/--no-feedback", help="Whether to ask for feedback at all.")] = True,
    languages: Languages = None,
    wordings: Wordings = 2,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Say whether a model that is asked for claims says them, the truth, that it does not know, or something else, and whether its own feedback tells when
    to abstain; change nothing."""
    from polyunlearn.abstaining.feedback import feedback_figures, judged_answers, without_figures
    from polyunlearn.abstaining.frames import MODES, check_modes
    from polyunlearn.abstaining.items import make_items
    from polyunlearn.abstaining.outcomes import classified_answers, shares_of
    from polyunlearn.cleaning.asking import Asking, asked_languages
    from polyunlearn.corpus.claims import read_claims
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.abstaining import print_abstaining, write_abstaining_json, write_abstaining_markdown

    check_outputs(json_file, markdown_file, reads=[claims_file], model=model)
    if modes and not feedback:
        raise UserError("--mode names a feedback and --no-feedback asks for none; give one of them")
    check_modes(modes)
    asked_modes = list(dict.fromkeys(modes or MODES))
    claims = read_claims(claims_file)
    asking = Asking(wordings, languages=tuple(languages or ()))
    asked_languages(claims, asking)  # What cannot be asked is said before a model is loaded.
    items = make_items(claims, asking) if feedback else []
    judged: list[Judged] = []
    with Working() as work:
        loaded = load_model(model, say=work.say)
        answers = classified_answers(loaded, claims, asking, work)
        if items:
            judged = judged_answers(loaded, items, asked_modes, work=work)
    shares, figures = shares_of(answers), feedback_figures(judged)
    without = without_figures(items, asked_modes, figures)
    print_abstaining(shares, figures, without, console)
    if json_file:
        write_abstaining_json(answers, shares, judged, figures, model, json_file)
    if markdown_file:
        write_abstaining_markdown(shares, figures, without, model, markdown_file)
