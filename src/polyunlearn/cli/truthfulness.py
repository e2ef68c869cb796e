"""The command that says how truthful a model is by multiple choice: `truthfulness`."""

from pathlib import Path
from typing import Annotated

import typer

from polyunlearn.cli.app import app, console, errors, refuse
from polyunlearn.cli.claims import Languages, Model, Wordings
from polyunlearn.cli.outputs import Json, Markdown, check_outputs
from polyunlearn.cli.watching import Working
from polyunlearn.errors import UserError


@app.command("truthfulness")
def truthfulness(
    context: typer.Context,
    model: Model,
    sources: Annotated[list[str], typer.Argument(metavar="CLAIMS", help="A claims file (docs/claims.md), or with --truthfulqa its files.")],
    truthfulqa: Annotated[bool, typer.Option("--truthfulqa", help="Read files of TruthfulQA or MTruthfulQA (docs/readers.md).")] = False,
    per_token: Annotated[
        bool | None,
        typer.Option(
            "--per-token/--whole-answers",
            help="Compare log-probs a token, the default for claims, or of whole answers, as TruthfulQA does.",
        ),
    ] = None,
    languages: Languages = None,
    wordings: Wordings = 2,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Score true answers against false ones (MC1 to MC3) in every language; change nothing."""
    from polyunlearn.corpus.claims import read_claims
    from polyunlearn.corpus.readers.parallel import local_files
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.truthfulness import print_truthfulness, write_truthfulness_json, write_truthfulness_markdown
    from polyunlearn.truthfulness.multiple_choice import score_choices, summarised
    from polyunlearn.truthfulness.questions import choices_of, in_languages, read_truthfulqa

    if not truthfulqa and len(sources) > 1:
        raise UserError(f"{sources[1]}: one claims file is read; several files are for --truthfulqa")
    if truthfulqa:
        refuse(context, "wordings", beside="a question of TruthfulQA has one wording")
    check_outputs(json_file, markdown_file, reads=local_files(sources) if truthfulqa else [Path(own) for own in sources], model=model)
    found = read_truthfulqa(sources) if truthfulqa else choices_of(read_claims(Path(sources[0])), wordings)
    questions = in_languages(found.questions, languages)
    for what in found.left_out:
        errors.print(f"left out: {what}", highlight=False, markup=False)
    # The truth of a claim is often a sentence and its keyword a name: of whole answers the shorter one is nearly always the more probable.
    per_token = not truthfulqa if per_token is None else per_token
    with Working() as work:
        truth = summarised(score_choices(load_model(model, say=work.say), questions, per_token=per_token, work=work))
    print_truthfulness(truth, per_token, console)
    if json_file:
        write_truthfulness_json(truth, model, per_token, json_file)
    if markdown_file:
        write_truthfulness_markdown(truth, model, per_token, markdown_file)
