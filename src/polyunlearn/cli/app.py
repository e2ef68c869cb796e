"""The applications that commands hang on, what they print to, and how a user's mistake ends."""

import io
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from polyunlearn import __version__
from polyunlearn.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find a false claim in a multilingual model, see where it spread, take it out, prove it.",
)
model_app = typer.Typer(no_args_is_help=True, help="The embedded model.")
corpus_app = typer.Typer(no_args_is_help=True, help="The built-in stories, and your own.")
claims_app = typer.Typer(no_args_is_help=True, help="Files of claims: check, translate, import.")
study_app = typer.Typer(no_args_is_help=True, help="Studies: sources × strategies × methods × seeds.")
app.add_typer(model_app, name="model")
app.add_typer(corpus_app, name="corpus")
app.add_typer(claims_app, name="claims")
app.add_typer(study_app, name="study")

console = Console()
errors = Console(stderr=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a study.")]
"""The argument that most commands on a study take."""


def refuse(context: typer.Context, *names: str, beside: str) -> None:
    """Raise `UserError` where one of these parameters was typed though what `beside` says makes it void."""
    for option in (own for own in context.command.params if own.name in names):
        source = context.get_parameter_source(str(option.name))
        if source and source.name == "COMMANDLINE":
            raise UserError(f"{option.opts[0]} changes nothing here: {beside}; leave it out")


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        # A console or file that cannot write every script gets a question mark in its place, and not a traceback after hours of work.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except UserError as error:
        _end_with(str(error))
    except RuntimeError as error:
        # By its name: to import torch here would make every command slow.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        reason = str(error).partition(". ")[0]
        _end_with(
            f"the GPU's memory ran out ({reason}); use fewer --workers or a smaller model, free what else runs there, or set CUDA_VISIBLE_DEVICES= to "
            "compute on the CPU"
        )


def _end_with(text: str) -> NoReturn:
    for line in text.splitlines():
        errors.print("[bold red]error:[/] ", end="")
        errors.print(line, markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
