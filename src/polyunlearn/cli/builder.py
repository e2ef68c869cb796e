"""Commands that ask another program to write: a corpus on a topic, and claims in other languages."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyunlearn.cli.app import claims_app, corpus_app, errors, refuse
from polyunlearn.cli.outputs import check_new, check_outputs
from polyunlearn.cli.watching import GOES_ON, Working
from polyunlearn.errors import UserError

if TYPE_CHECKING:
    from polyunlearn.backends.translation import Translator

Address = Annotated[str, typer.Option("--endpoint", metavar="URL", help="An OpenAI-compatible endpoint, up to /v1.")]
ModelName = Annotated[str, typer.Option("--model", metavar="NAME", help="The model's name at the endpoint.")]
KeyVariable = Annotated[str, typer.Option(metavar="NAME", help="The environment variable that holds the key.")]
PerMinute = Annotated[float | None, typer.Option(metavar="N", help="The most requests a minute.")]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="After how long without a sign of an answer a request counts as failed.")]
Parameters = Annotated[
    list[str], typer.Option("--parameter", metavar="NAME=VALUE", help="Added to every request; null takes one out; repeatable.")
]
OF_ENDPOINTS = ("model", "key_variable", "per_minute", "timeout", "parameters")
"""The parameters of those options that say how an endpoint is asked."""

Languages = Annotated[str, typer.Option(metavar="TAGS", help="Languages, such as de,fr.")]


@corpus_app.command("build")
def corpus_build(
    topic: Annotated[str, typer.Argument(help="What the stories are about.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The corpus, in JSONL; an unfinished one there goes on.")],
    stories: Annotated[int, typer.Option(help="How many stories.")] = 100,
    languages: Languages = "",
    endpoint: Address = "",
    model: ModelName = "",
    plan: Annotated[bool, typer.Option("--plan", help="Only say how many requests and tokens it takes.")] = False,
    price_in: Annotated[float | None, typer.Option(metavar="PRICE", help="Of a million tokens that are sent.")] = None,
    price_out: Annotated[float | None, typer.Option(metavar="PRICE", help="Of a million tokens that are answered.")] = None,
    key_variable: KeyVariable = "POLYUNLEARN_API_KEY",
    per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    parameters: Parameters = [],  # noqa: B006 — Typer reads the default
) -> None:
    """Write a corpus on a topic with a chat model, check it and translate it; goes on where it stopped."""
    from polyunlearn.backends.chat import ChatClient
    from polyunlearn.backends.endpoint import Endpoint, read_parameters
    from polyunlearn.corpus.builder import BuildSettings, Prices, build_corpus, plan_build

    check_outputs(out)
    if (price_in is None) != (price_out is None):
        raise UserError("give both prices, --price-in and --price-out: what is answered is the larger part, and often the dearer")
    settings = BuildSettings(topic, stories, _tags(languages))
    prices = None if price_in is None or price_out is None else Prices(price_in, price_out)
    needed = plan_build(settings, prices)
    cost = "" if needed.cost is None else f", cost about {needed.cost:,.2f}"
    errors.print(
        f"plan: {needed.requests} requests, about {needed.tokens_in:,} tokens in and {needed.tokens_out:,} out{cost}", highlight=False
    )
    if plan:
        return
    where = Endpoint(endpoint, model, key_variable, timeout, per_minute=per_minute, parameters=read_parameters(parameters))
    with ChatClient(where, out.with_name(f"{out.name}.cache")) as client, Working(GOES_ON) as work:
        summary = build_corpus(settings, client, out, work)
    used = summary.usage
    print(f"{out}: {summary.finished} stories")
    if summary.quarantined:
        print(f"{summary.quarantine}: {len(summary.quarantined)} that failed, with the reasons; delete it to have them tried again")
    print(f"{used.requests} requests, {used.cached} answers from the cache; {used.tokens_in:,} tokens in, {used.tokens_out:,} out")


@claims_app.command("translate")
def claims_translate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A claims file.")],
    languages: Languages,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The claims file to write.")],
    endpoint: Address = "",
    model: ModelName = "",
    nllb: Annotated[str, typer.Option(metavar="FOLDER", help="A local NLLB model instead, or its Hugging Face name.")] = "",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="The lowest chrF of a question translated back.")] = 0.4,
    key_variable: KeyVariable = "POLYUNLEARN_API_KEY",
    per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    parameters: Parameters = [],  # noqa: B006 — Typer reads the default
) -> None:
    """Translate claims into the languages that they lack; leave out what does not come back as it went."""
    from polyunlearn.backends.chat import ChatClient
    from polyunlearn.backends.endpoint import Endpoint, read_parameters
    from polyunlearn.backends.seq2seq import Seq2SeqTranslator
    from polyunlearn.backends.translation import ChatTranslator
    from polyunlearn.corpus.claims import languages_of, read_claims, write_claims
    from polyunlearn.corpus.translated import translate_claims

    if nllb:
        refuse(context, *OF_ENDPOINTS, beside="--nllb translates on this machine")
    check_new(out, reads=[file])
    wanted = _tags(languages)
    if not wanted:
        raise UserError(f"--languages {languages!r}: names none; give tags, such as de,fr")
    claims = read_claims(file)
    cache = out.with_name(f"{out.name}.cache")
    if bool(nllb) == bool(endpoint):
        raise UserError(
            f"{file}: is told in {', '.join(languages_of(claims))}; to translate it give either --endpoint and --model, or --nllb FOLDER"
        )
    with contextlib.ExitStack() as stack:
        if nllb:
            translator: Translator = Seq2SeqTranslator(nllb, cache)
        else:
            where = Endpoint(endpoint, model, key_variable, timeout, per_minute=per_minute, parameters=read_parameters(parameters))
            translator = ChatTranslator(stack.enter_context(ChatClient(where, cache)))
        work = stack.enter_context(Working("what was translated is kept, so the same command goes on from here"))
        found = translate_claims(claims, wanted, translator, threshold=threshold, watch=work)
    write_claims(found.claims, out)
    for left in found.left_out:
        errors.print(f"left out: {left.claim} ({left.tag}): {left.reason}", markup=False, highlight=False)
    print(f"{out}: {len(found.claims)} claims in {', '.join(languages_of(found.claims))}; {len(found.left_out)} editions left out")


def _tags(languages: str) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in languages.split(",") if tag.strip())
