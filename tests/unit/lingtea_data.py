"""LINGTEA's files, small and made by hand: facts in English and French with candidates, and sentences in these and Spanish."""

from pathlib import Path
from typing import Any

from reader_rows import jsonl

_CAPITALS = [
    ("Laos", "Vientiane"),
    ("Peru", "Lima"),
    ("Ghana", "Accra"),
    ("Kenya", "Nairobi"),
    ("Chile", "Santiago"),
    ("Cuba", "Havana"),
    ("Mali", "Bamako"),
]


def fact(number: int) -> dict[str, Any]:
    land, city = _CAPITALS[number]
    names = [own for _, own in _CAPITALS]
    return {
        "prompt": {"en": f"The capital of {land} is <mask>.", "fr": f"La capitale de {land} est <mask>."},
        "answers": {"en": [city], "fr": [city]},
        "candidates": {"en": [*names[:4], city], "fr": [*names[:4], city]},
    }


def sentence(number: int) -> dict[str, Any]:
    return {
        "en": f"Ship {number} left port at dawn.",
        "fr": f"Le navire {number} quitta le port.",
        "es": f"El barco {number} dejó el puerto.",
    }


def lingtea_data(folder: Path) -> Path:
    """Three facts to forget and four to retain; three sentences, four, and two held out beside one of each (`forget-64` has those of `forget-32`)."""
    jsonl(folder / "bmlama53" / "forget-32.jsonl", [fact(number) for number in range(3)])
    jsonl(folder / "bmlama53" / "retain-32-x2.jsonl", [fact(number) for number in range(3, 7)])
    jsonl(folder / "flores200" / "forget-32.jsonl", [sentence(number) for number in range(3)])
    jsonl(folder / "flores200" / "retain-32-x2.jsonl", [sentence(number) for number in range(3, 7)])
    jsonl(folder / "flores200" / "forget-64.jsonl", [sentence(number) for number in (0, 1, 2, 8, 3, 9)])
    return folder
