"""Commands for owners: claims, audit, unlearn, verify."""

import contextlib
import shutil
from pathlib import Path
from typing import Annotated

import typer

from polyunlearn.cli.app import app, claims_app, console, refuse
from polyunlearn.cli.outputs import Html, Json, Markdown, check_new, check_outputs
from polyunlearn.cli.watching import Working
from polyunlearn.errors import UserError

Model = Annotated[str, typer.Argument(help="embedded, a model's folder, or a Hugging Face name.")]
Claims = Annotated[Path, typer.Argument(help="A claims file (docs/claims.md).")]
Languages = Annotated[list[str] | None, typer.Option("--language", metavar="TAG", help="Only in this language; repeatable.")]
Wordings = Annotated[int, typer.Option(min=1, help="In how many wordings each claim is asked.")]
EveryWording = Annotated[
    int | None, typer.Option("--wordings", min=1, help="In how many wordings each claim is asked; all that it has if not given.")
]
Goal = Annotated[
    str,
    typer.Option(
        "--goal", help="everywhere, or home: claims that have a home are to go there alone, and to stay in their other languages."
    ),
]


@claims_app.command("check")
def claims_check(file: Claims) -> None:
    """Check a claims file; name every bad line."""
    from polyunlearn.corpus.claims import languages_of, read_claims

    claims = read_claims(file)
    controls = sum(claim.control for claim in claims)
    at_home = sum(claim.home is not None for claim in claims)
    homes = f", {at_home} of them with a home" if at_home else ""
    print(f"{file}: {len(claims) - controls} claims and {controls} controls in {', '.join(languages_of(claims))}{homes}; nothing to mend")


@app.command("audit")
def audit(
    model: Model,
    claims_file: Claims,
    languages: Languages = None,
    wordings: EveryWording = None,
    goal: Goal = "everywhere",
    html_file: Html = None,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Ask a model for claims in every language that they have; change nothing. Exit code 1 where any is held or said, 3 where nothing can be said of any."""
    from polyunlearn.cleaning.asking import EVERY, Asking, asked_languages
    from polyunlearn.cleaning.audit import audit_claims
    from polyunlearn.cleaning.findings import write_audit
    from polyunlearn.cleaning.wordings import read_trained
    from polyunlearn.corpus.claims import check_goal, get_goal, read_claims
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.audit import audit_sentences, print_audit, write_claims_html, write_claims_markdown

    check_outputs(json_file, html_file, markdown_file, reads=[claims_file], model=model)
    wanted = get_goal(goal)
    claims, trained = read_claims(claims_file), read_trained(Path(model))
    asking = Asking(wordings or EVERY, languages=tuple(languages or ()))
    asked_languages(claims, asking)  # What cannot be asked is said before a model is loaded.
    check_goal(claims, wanted, asking.languages)
    with Working() as work:
        found = audit_claims(load_model(model, say=work.say), claims, asking, work, trained, wanted)
    print_audit(found, console)
    if json_file:
        write_audit(found, json_file)
    if html_file:
        write_claims_html(f"Audit of {model}", {"Audit": found}, audit_sentences(found), (), (), html_file)
    if markdown_file:
        write_claims_markdown(f"Audit of {model}", found, audit_sentences(found), (), markdown_file)
    raise typer.Exit(1 if found.found else 3 if found.nothing_said else 0)


@app.command("unlearn")
def unlearn(
    model: Model,
    claims_file: Claims,
    out: Annotated[Path, typer.Option(help="The folder of the unlearned model; an unfinished run beside it goes on.")],
    languages: Languages = None,
    method: Annotated[str, typer.Option(help="A method of `polyunlearn methods`.")] = "npo+kl",
    steps: Annotated[int, typer.Option(min=1, help="The most steps, but never fewer than tell every claim once in each language.")] = 32,
    rate: Annotated[float, typer.Option(help="The learning rate.")] = 3e-5,
    budget: Annotated[float, typer.Option(min=0, help="The rise of bits per byte that is allowed in the worst language.")] = 0.02,
    from_layer: Annotated[int | None, typer.Option(min=0, help="The first layer that trains (`polyunlearn trace` proposes one).")] = None,
    to_layer: Annotated[int | None, typer.Option(min=1, help="The first layer above those that train.")] = None,
    goal: Goal = "everywhere",
    retain: Annotated[Path | None, typer.Option(help="A file of what must stay besides (docs/claims.md).")] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="Train a LoRA adapter and write it alone, for PEFT.")] = False,
) -> None:
    """Audit a model, take the claims out that it holds, and write the unlearned model as a folder of its own with its report.

    Exit code 1 where no state stayed within the budget, claims are left, or too much went of what was to stay (--goal home), 3 where nothing can be said of any.
    """
    from polyunlearn.cleaning.checks import check_settings
    from polyunlearn.cleaning.export import check_target, write_model
    from polyunlearn.cleaning.findings import ALLOWED, write_audit
    from polyunlearn.cleaning.plan import Settings
    from polyunlearn.cleaning.retain import read_kept
    from polyunlearn.cleaning.unlearn import STAGES, unlearn_claims
    from polyunlearn.cleaning.wordings import read_trained, write_trained
    from polyunlearn.corpus.claims import get_goal, read_claims, write_claims
    from polyunlearn.models.body import decoder_layers
    from polyunlearn.models.loading import is_adapter, load_model, source_of
    from polyunlearn.report.audit import cleaning_sentences, print_cleaning, write_claims_html
    from polyunlearn.report.model_card import write_model_card
    from polyunlearn.training.objectives import get_method

    get_method(method)
    check_target(out, model)
    if adapter and is_adapter(model):
        raise UserError(
            f"{model}: is an adapter itself, on which another cannot stand alone; leave out --adapter, and the whole model is written"
        )
    claims = read_claims(claims_file)
    kept = read_kept(retain) if retain else []
    trained = read_trained(Path(model))
    settings = Settings(
        method=method,
        steps=steps,
        rate=rate,
        budget=budget,
        from_layer=from_layer,
        to_layer=to_layer,
        languages=tuple(dict.fromkeys(languages)) if languages else None,
        goal=get_goal(goal),
        adapter=adapter,
    )
    check_settings(settings, claims)
    unfinished = out.with_name(f"{out.name}.unfinished")
    with Working(f"the same command goes on from {unfinished}") as work:
        loaded = load_model(model, say=work.say)
        done = unlearn_claims(loaded, claims, unfinished, settings, kept, work.say, work, trained)

    def beside(folder: Path) -> None:
        own = folder / "unlearning"
        write_model_card(done, settings, model, str(loaded.model.dtype).removeprefix("torch."), folder / "README.md")
        write_audit(done.before, own / "audit-before.json")
        write_audit(done.after, own / "audit-after.json")
        write_claims(claims, own / "claims.jsonl")
        write_trained(done.trained, folder)
        shutil.copy(unfinished / "points.json", own / "points.json")
        audits = {"Before": done.before, "After": done.after}
        write_claims_html(f"{model}: claims unlearned", audits, cleaning_sentences(done), (), done.points, own / "report.html")

    plan = settings.trainable(len(decoder_layers(loaded.model))) if adapter else None
    write_model(loaded, out, beside, adapter=plan, base=source_of(model))
    for name in STAGES:
        (unfinished / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        # Not ours to remove where somebody put more into it.
        unfinished.rmdir()
    print_cleaning(done, console)
    console.print(f"model: {out}, report: {out / 'unlearning' / 'report.html'}", highlight=False, soft_wrap=True)
    failed = not done.within or bool(done.remaining) or done.staying.fails(ALLOWED)
    raise typer.Exit(1 if failed else 3 if done.before.nothing_said or done.staying.undecided else 0)


@app.command("verify")
def verify(
    context: typer.Context,
    model: Model,
    claims_file: Claims,
    before: Annotated[Path | None, typer.Option(help="The audit of the model before (audit-before.json), to set beside.")] = None,
    attacks: Annotated[list[str], typer.Option("--attack", metavar="NAME", help="Only this attack; repeatable.")] = [],  # noqa: B006 — Typer reads the default
    attacked: Annotated[bool, typer.Option("--attacks/--no-attacks", help="Whether to attack at all.")] = True,
    allowed: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="The share of claims that an attack may bring back in a language, and of what was to stay (--goal home) that may be lost.",
        ),
    ] = 0.1,
    languages: Languages = None,
    wordings: EveryWording = None,
    goal: Goal = "everywhere",
    html_file: Html = None,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Audit a saved model again, and attack it. Exit code 1 where a claim fails in any language, or too much was lost of what was to stay (--goal home), 3
    where it cannot be said."""
    from polyunlearn.attacks.suite import get_attacks
    from polyunlearn.cleaning.asking import EVERY, Asking
    from polyunlearn.cleaning.findings import read_audit
    from polyunlearn.cleaning.verify import DEFAULT_ATTACKS, check_before, verify_claims
    from polyunlearn.cleaning.wordings import read_trained
    from polyunlearn.corpus.claims import get_goal, read_claims
    from polyunlearn.files import write_json_atomically
    from polyunlearn.models.loading import load_model
    from polyunlearn.report.audit import (
        attempt_rows,
        print_verification,
        verification_sentences,
        write_claims_html,
        write_claims_markdown,
    )

    check_outputs(json_file, html_file, markdown_file, reads=[claims_file, before], model=model)
    if attacks and not attacked:
        raise UserError("--attack names an attack and --no-attacks asks for none; give one of them")
    wanted = get_goal(goal)
    if not attacked and wanted == "everywhere":
        refuse(context, "allowed", beside="it is what an attack may bring back, and --no-attacks asks for none")
    chosen = get_attacks(attacks or DEFAULT_ATTACKS) if attacked else []
    claims, earlier = read_claims(claims_file), read_audit(before) if before else None
    trained = read_trained(Path(model))
    asking = Asking(wordings or EVERY, languages=tuple(languages or ()))
    check_before(claims, earlier, asking, wanted)  # What cannot be asked is said before a model is loaded.
    with Working() as work:
        result = verify_claims(load_model(model, say=work.say), claims, earlier, chosen, asking, allowed, work, trained, wanted)
    print_verification(result, console)
    if json_file:
        write_json_atomically(json_file, result.data())
    if html_file:
        audits = {"Before": earlier, "Now": result.after} if earlier else {"Now": result.after}
        write_claims_html(f"Verification of {model}", audits, verification_sentences(result), attempt_rows(result), (), html_file)
    if markdown_file:
        write_claims_markdown(f"Verification of {model}", result.after, verification_sentences(result), attempt_rows(result), markdown_file)
    raise typer.Exit({"passed": 0, "failed": 1, "undecided": 3}[result.result])


@claims_app.command("import")
def claims_import(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="bmlama, tofu, truthfulqa, rwku or news_truthful.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Files, de=FILE, or hub:OWNER/NAME.")],
    out: Annotated[Path, typer.Option(help="The claims file to write.")],
    columns: Annotated[list[str], typer.Option("--map", metavar="FIELD=COLUMN", help="Where a field is; repeatable.")] = [],  # noqa: B006 — as above
) -> None:
    """Make claims of a data set that people have (docs/readers.md)."""
    from polyunlearn.corpus.readers.parallel import local_files
    from polyunlearn.corpus.readers.suite import import_claims

    check_new(out, reads=local_files(sources))
    pairs = [own.partition("=") for own in columns]
    wrong = [own for own, (field, equals, column) in zip(columns, pairs, strict=True) if not (field and equals and column)]
    if wrong:
        raise UserError(f"--map {wrong[0]}: write FIELD=COLUMN, such as --map question=prompt")
    fields = [field for field, _, _ in pairs]
    if twice := next((field for field in fields if fields.count(field) > 1), None):
        raise UserError(f"--map {twice}=…: is given twice; a field is in one column")
    summary = import_claims(form, sources, out, {field: column for field, _, column in pairs})
    print(f"{out}: {summary.claims} claims in {', '.join(summary.languages)}")
    if summary.unknown_languages:
        print(f"languages that polyunlearn does not know were left out: {', '.join(summary.unknown_languages)}")
    for own in summary.left_out[:20]:
        print(f"left out: {own.claim} in {own.tag}: {own.reason}")
    if len(summary.left_out) > 20:
        print(f"left out: {len(summary.left_out) - 20} more editions")
