"""The command that asks in mixed languages: `barriers`."""

from polyunlearn.cli.app import app, console
from polyunlearn.cli.claims import Claims, Languages, Model, Wordings
from polyunlearn.cli.outputs import Json, Markdown, check_outputs
from polyunlearn.cli.watching import Working


@app.command("barriers")
def barriers(
    model: Model,
    claims_file: Claims,
    languages: Languages = None,
    wordings: Wordings = 2,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Ask for facts in multiple-choice questions whose parts are in different languages: what is known in one and not used in another."""
    from polyunlearn.barriers.accuracy import measure_barriers, mixed_facts
    from polyunlearn.corpus.claims import read_claims
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.barriers import print_barriers, write_barriers_json, write_barriers_markdown

    check_outputs(json_file, markdown_file, reads=[claims_file], model=model)
    claims = read_claims(claims_file)
    mixed_facts(claims, languages, wordings)  # What cannot be asked is said before a model is loaded.
    with Working() as work:
        found = measure_barriers(load_model(model, say=work.say), claims, languages, wordings, work)
    print_barriers(found, console)
    if json_file:
        write_barriers_json(found, json_file)
    if markdown_file:
        write_barriers_markdown(found, markdown_file)
