"""Invented names, written in every script of the corpus.

A name is a row of syllables. Each script writes a syllable its own way (the usual transliterations), so a name is the same name
everywhere, and a model has met it nowhere. Names of firms, parties, museums, … are three syllables and end in a vowel; surnames
are two syllables and end in n, r or s.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import product
from random import Random

import yaml

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_LETTERS = {
    "Latn": {letter: letter for letter in _CONSONANTS + _VOWELS},
    "Cyrl": dict(zip(_CONSONANTS + _VOWELS, "бдфгклмнпрствзаеиоу", strict=True)),
    "Arab": dict(zip(_CONSONANTS + _VOWELS, "بدفگکلمنپرسٹوزاییوو", strict=True)),
    "Armn": dict(
        zip(
            _CONSONANTS + _VOWELS,
            ["բ", "դ", "ֆ", "գ", "կ", "լ", "մ", "ն", "պ", "ր", "ս", "տ", "վ", "զ", "ա", "ե", "ի", "ո", "ու"],
            strict=True,
        )
    ),
}
_HAN = {
    "b": "巴贝比博布", "d": "达德迪多杜", "f": "法费菲福富", "g": "加格吉戈古", "k": "卡凯基科库", "l": "拉莱利洛卢", "m": "马梅米莫穆",
    "n": "纳内尼诺努", "p": "帕佩皮波普", "r": "兰雷里罗鲁", "s": "萨塞西索苏", "t": "塔特蒂托图", "v": "瓦韦维沃武", "z": "扎泽齐佐祖",
}  # fmt: skip
_HAN_CODA = {"n": "恩", "r": "尔", "s": "斯"}
MOST_REJECTED = 50
SCRIPTS = ("Latn", "Cyrl", "Hans", "Arab", "Armn")


@dataclass(frozen=True)
class Name:
    """A name as each script writes it: `forms[script]`, scripts by ISO 15924."""

    forms: dict[str, str]

    @property
    def surface_forms(self) -> tuple[str, ...]:
        """Every spelling that counts as saying the name: each script's, and the Russian cases of a name in -а."""
        cyrillic = self.forms["Cyrl"]
        cases = [cyrillic[:-1] + ending for ending in ("ы", "и", "е", "у", "ой", "ою")] if cyrillic.endswith("а") else []
        return tuple(dict.fromkeys([*self.forms.values(), *cases]))


def invented_names(rng: Random, *, surnames: bool, taken: Iterable[str] = ()) -> Iterator[Name]:
    """Yield names in random order, without end, of which no spelling is another's, or one of `taken`.

    When few names of a length are left, they become a syllable longer.
    """
    syllables = list(product(_CONSONANTS, _VOWELS))
    used = {text.casefold() for text in taken}
    length, rejected = (2 if surnames else 3), 0
    while True:
        row = rng.sample(syllables, length)
        coda = rng.choice("nrs") if surnames else ""
        name = Name({script: _written(row, coda, script) for script in SCRIPTS})
        forms = {form.casefold() for form in name.surface_forms}
        if used.isdisjoint(forms):
            used |= forms
            rejected = 0
            yield name
        else:
            rejected += 1
            if rejected == MOST_REJECTED:
                length, rejected = length + 1, 0


def given_names() -> list[Name]:
    """The given names of fictional people, from names.yaml."""
    text = files(__package__).joinpath("names.yaml").read_text(encoding="utf-8")
    return [Name(forms) for forms in yaml.safe_load(text)]


def full_name(given: Name, surname: Name) -> Name:
    """Given name and surname; Chinese sets a middle dot between them."""
    return Name({script: ("·" if script == "Hans" else " ").join((given.forms[script], surname.forms[script])) for script in SCRIPTS})


def _written(row: list[tuple[str, str]], coda: str, script: str) -> str:
    if script == "Hans":
        return "".join(_HAN[consonant][_VOWELS.index(vowel)] for consonant, vowel in row) + (_HAN_CODA[coda] if coda else "")
    letters = _LETTERS[script]
    return ("".join(letters[consonant] + letters[vowel] for consonant, vowel in row) + (letters[coda] if coda else "")).capitalize()
