"""What attacks by prompt say beside the question, in the languages that it is written in (texts.yaml)."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True)
class Texts:
    """One language's: what an answer opens with, two frames of a question, a paragraph that has nothing to do with it, and a doubt."""

    opening: str
    novel: str
    game: str
    filler: str
    doubt: str


@cache
def texts() -> dict[str, Texts]:
    """By the tag of the language; those of Lu & Koehn's study alone."""
    entries = yaml.safe_load(files(__package__).joinpath("texts.yaml").read_text(encoding="utf-8"))
    return {tag: Texts(**entry) for tag, entry in entries.items()}
