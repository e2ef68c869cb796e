"""The readers by name, and the import of claims from them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polyunlearn.corpus.claims import languages_of, write_claims
from polyunlearn.corpus.readers import bmlama, flores, news_truthful, rwku, tofu, truthfulqa
from polyunlearn.corpus.readers.columns import Field
from polyunlearn.corpus.readers.drafts import ReadClaims
from polyunlearn.corpus.readers.flores import ReadSentences
from polyunlearn.corpus.translated import LeftOut
from polyunlearn.errors import UserError, unknown_name

Read = Callable[[Sequence[str], Mapping[str, str]], ReadClaims | ReadSentences]


@dataclass(frozen=True)
class ReaderCard:
    """What a reader is: what it reads, the licence that the data's publisher states, the paper, and the fields that a mapping may name."""

    name: str
    reads: str
    licence: str
    paper: str
    fields: tuple[Field, ...]
    read: Read


@dataclass(frozen=True)
class ImportSummary:
    """What an import wrote: how many claims, how many editions by tag, and what it left out, with the reasons: editions that no claim can have, and
    editions, by number, in languages that the table lacks."""

    claims: int
    languages: Mapping[str, int]
    left_out: tuple[LeftOut, ...]
    unknown_languages: Mapping[str, int]


READERS = {
    card.name: card
    for card in (
        ReaderCard(
            "bmlama",
            "claims from BMLAMA-53: a gap to fill in each language, with candidates",
            "none stated for BMLAMA-53; mLAMA, which it is made from: CC BY-NC-SA 4.0",
            "Choi et al., arXiv 2406.12354; Kassner et al., arXiv 2102.00894",
            bmlama.FIELDS,
            bmlama.read,
        ),
        ReaderCard(
            "tofu",
            "claims from TOFU and its translations: questions answered in a sentence, with perturbed answers",
            "MIT (TOFU, and the translations of arXiv 2601.05641)",
            "Maini et al., arXiv 2401.06121",
            tofu.FIELDS,
            tofu.read,
        ),
        ReaderCard(
            "truthfulqa",
            "claims from TruthfulQA, its translations and MTruthfulQA: false answers to a question, and the best one",
            "Apache 2.0 (TruthfulQA); see the publisher for translations",
            "Lin et al., arXiv 2109.07958; arXiv 2406.14434",
            truthfulqa.FIELDS,
            truthfulqa.read,
        ),
        ReaderCard(
            "rwku",
            "claims from RWKU: what is known of real people, as gaps, questions and attacks",
            "CC BY 4.0",
            "Jin et al., arXiv 2406.10890",
            rwku.FIELDS,
            rwku.read,
        ),
        ReaderCard(
            "news_truthful",
            "claims from news with a false detail, in columns of any names",
            "none seen for TaiMingLu/news-truthful; ask its publisher",
            "Lu & Koehn, arXiv 2406.13748",
            news_truthful.FIELDS,
            news_truthful.read,
        ),
        ReaderCard(
            "flores",
            "parallel sentences, a column a language, for bits per byte",
            "CC BY-SA 4.0",
            "NLLB team, arXiv 2207.04672",
            (),
            flores.read,
        ),
    )
}


def get_reader(name: str) -> ReaderCard:
    """The reader of this name; raises `UserError` where there is none."""
    if name not in READERS:
        raise unknown_name("format", name, READERS)
    return READERS[name]


def import_claims(form: str, sources: Sequence[str], out: Path, mapping: Mapping[str, str]) -> ImportSummary:
    """Read data of a format and write what it says as a claims file.

    `sources` are files, LANGUAGE=FILE, or `hub:` names; `mapping` gives the column of a field.

    Raises:
        UserError: for an unknown format, data of another form, a format that holds no claims, or where no claim is left.
    """
    card = get_reader(form)
    if not sources:
        raise UserError(f"nothing to import; give files of {card.reads}")
    found = card.read(sources, mapping)
    if isinstance(found, ReadSentences):
        raise UserError(f"{form} holds sentences and no claims; choose from {', '.join(name for name in READERS if name != form)}")
    if not found.claims:
        raise UserError("\n".join(("no claim is left:", *_reasons(found))))
    write_claims(found.claims, out)
    counts = Counter(tag for claim in found.claims for tag in claim.editions)
    return ImportSummary(
        len(found.claims), {tag: counts[tag] for tag in languages_of(found.claims)}, found.left_out, found.unknown_languages
    )


def _reasons(found: ReadClaims) -> list[str]:
    lost = [f"{name!r} is not in the language table (editions: {number})" for name, number in found.unknown_languages.items()]
    return lost + [f"{own.claim} ({own.tag}): {own.reason}" for own in found.left_out[:20]]
