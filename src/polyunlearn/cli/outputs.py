"""The files that commands write: the options that name them, and where they may be, said before a command begins."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from polyunlearn.errors import UserError

Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write a page to look at there.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write all figures there.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the tables there.")]

_OF_STUDIES = (
    "manifest.json",
    "lingtea.json",
    "own-answers/*",
    "summary.json",
    "rows.csv",
    "report.html",
    "cells/*",
    "states/*",
    "attacks/*",
    "layers/*",
    "judgements/*",
)
_OF_MODELS = (
    *("*config.json", "*.safetensors*", "*.bin", "*.gguf", "*.model", "tokenizer*", "special_tokens_map.json", "README.md"),
    *(
        "unlearning/audit-before.json",
        "unlearning/audit-after.json",
        "unlearning/claims.jsonl",
        "unlearning/points.json",
        "unlearning/report.html",
    ),
)


def check_outputs(*outputs: Path | None, reads: Sequence[Path | None] = (), study: Path | None = None, model: str | None = None) -> None:
    """Raise `UserError` where an output cannot be written, is named twice, or is a file that is read or belongs to the study or model folder: after hours of
    work it would be too late."""
    named = [path for path in outputs if path]
    for path in named:
        _check_writable(path)
        if [own.resolve() for own in named].count(path.resolve()) > 1:
            raise UserError(f"{path}: is named twice; give each file its own path")
        if path.resolve() in {own.resolve() for own in reads if own}:
            raise UserError(f"{path}: is read here, and would be written over; give another path")
        for folder, patterns in ((study, _OF_STUDIES), (Path(model) if model else None, _OF_MODELS)):
            if folder and folder.is_dir() and _is_of(path.resolve(), folder.resolve(), patterns):
                raise UserError(f"{path}: is a file of {folder} itself, which would be lost; give another path")


def check_new(*outputs: Path, reads: Sequence[Path | None] = ()) -> None:
    """Raise `UserError` where an output cannot be written or stands there already: what is written there is data to go on with, not a view of it."""
    check_outputs(*outputs, reads=reads)
    for path in outputs:
        if path.is_file():
            raise UserError(f"{path}: stands there already, and is not written over; remove it, or give another path")


def _is_of(path: Path, folder: Path, patterns: Sequence[str]) -> bool:
    return path.exists() and path.is_relative_to(folder) and any(path.relative_to(folder).match(pattern) for pattern in patterns)


def _check_writable(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path}: a folder stands there; give the path of a file")
    above = next(own for own in path.absolute().parents if own.exists())
    if not above.is_dir():
        raise UserError(f"{path}: a file stands where a folder is needed ({above}); choose another path")
    if not os.access(path if path.exists() else above, os.W_OK):
        raise UserError(f"{path}: cannot be written; choose another folder or mend its permissions")
