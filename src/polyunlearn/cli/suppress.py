"""The command that suppresses claims at inference and says what that does: `suppress`."""

from typing import Annotated

import typer

from polyunlearn.cli.app import app, console
from polyunlearn.cli.claims import Claims, Model, Wordings
from polyunlearn.cli.outputs import Json, Markdown, check_outputs
from polyunlearn.cli.watching import Working
from polyunlearn.errors import UserError, unknown_name

WAYS = ("contrast", "datastore")


@app.command("suppress")
def suppress(
    model: Model,
    claims_file: Claims,
    way: Annotated[str, typer.Option(help="contrast (with an anti-expert) or datastore (by retrieval).")],
    languages: Annotated[
        list[str] | None, typer.Option("--language", metavar="TAG", help="Make it from this language alone; repeatable, in this order.")
    ] = None,
    asked: Annotated[
        list[str] | None, typer.Option("--ask-in", metavar="TAG", help="Ask in this language alone, before and after; repeatable.")
    ] = None,
    wordings: Wordings = 1,
    alpha: Annotated[float, typer.Option(help="How strongly to suppress.")] = 2.0,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Of contrast: in how many steps the anti-expert learns the claims. 48 if not given, more where all is not told once in these."
        ),
    ] = None,
    in_order: Annotated[bool, typer.Option("--in-order", help="Of contrast: teach one language after another, not mixed.")] = False,
    temperature: Annotated[float | None, typer.Option(help="Of datastore: that of the distances of states. 0.2 if not given.")] = None,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Suppress claims while a model writes, its weights unchanged, and ask for them before and after, in every language that they have."""
    from polyunlearn.cleaning.asking import Asking, asked_languages
    from polyunlearn.corpus.claims import read_claims
    from polyunlearn.files import write_json_atomically
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.suppression import print_suppression, write_suppression_markdown
    from polyunlearn.suppression.compare import chosen_languages, compare
    from polyunlearn.suppression.contrast import Contrast
    from polyunlearn.suppression.datastore import Datastore, Retrieval
    from polyunlearn.suppression.teach import Teaching, teach_anti_expert
    from polyunlearn.suppression.way import Way, check_alpha

    if way not in WAYS:
        raise unknown_name("way", way, WAYS)
    if temperature is not None if way == "contrast" else in_order or steps is not None:
        raise UserError("--steps and --in-order are of --way contrast, --temperature is of --way datastore; leave out what is of the other")
    check_outputs(json_file, markdown_file, reads=[claims_file], model=model)
    check_alpha(alpha)
    teaching = Teaching(steps=steps, in_order=in_order)
    retrieval = Retrieval(alpha=alpha) if temperature is None else Retrieval(temperature=temperature, alpha=alpha)
    claims = read_claims(claims_file)
    chosen = chosen_languages(claims, languages)
    asking = Asking(wordings, languages=tuple(asked or ()))
    asked_languages(claims, asking)  # What cannot be asked is said before a model is loaded.
    with Working() as work:
        loaded = load_model(model, say=work.say)

        def make() -> Way:
            if way == "contrast":
                return Contrast(teach_anti_expert(loaded, claims, chosen, teaching, wordings, work), alpha=alpha)
            datastore = Datastore(loaded, retrieval)
            for tag in chosen:
                datastore.add(claims, tag, wordings)
            return datastore

        found = compare(loaded, claims, f"{way}, one language after another" if in_order else way, chosen, make, asking, work)
    print_suppression(found, console)
    if json_file:
        write_json_atomically(json_file, found.data())
    if markdown_file:
        write_suppression_markdown(found, markdown_file)
