"""The tables of a trace, as text for the terminal, Markdown and HTML alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.report.layer_charts import BETWEEN, over_text
from polyunlearn.report.tables import estimate_text, places, signed
from polyunlearn.tracing.conflict import RETAIN
from polyunlearn.tracing.languages import ByWording
from polyunlearn.tracing.layers import LayerTrace

Depths = Mapping[str, Mapping[str, float | None]]
"""The depth score of each unlearned state, by language."""


@dataclass(frozen=True)
class TextTable:
    """A table of texts, the first column saying what a row is of, and a note below; `strong` are the rows of the layers to train."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    strong: range = field(default=range(0))


def trace_tables(trace: LayerTrace) -> Iterator[TextTable]:
    """Layer by layer how far the claims are there and how alike languages are, and how the languages' gradients stand to each other in the band."""
    band = range(trace.plan.from_layer, trace.plan.to_layer)
    numbers = [f"{layer}{' ●' if layer in band else ''}" for layer in range(trace.layers)]
    rows = [(number, *_claim_cells(trace, layer)) for layer, number in enumerate(numbers)]
    yield TextTable("Where the claims are", ("layer", *trace.languages, "share", "meaning"), tuple(rows), _legend(trace), band)
    if trace.alike:
        rows = [
            (number, *(f"{getattr(own, name):z.{digits}f}" for name, digits in _LIKENESS.values()))
            for number, own in zip(numbers, trace.alike, strict=True)
        ]
        yield TextTable("How alike languages are", ("layer", *_LIKENESS), tuple(rows), f"{_LIKENESS_NOTE} Over {over_text(trace)}.", band)
    pairs = trace.conflict.pairs_within(band.start, band.stop)
    if pairs:
        tags = [*pairs, *([RETAIN] if trace.conflict.against else [])]
        rows = [(get_language(tag).name, *(signed(own[other]) if other in own else "" for other in tags)) for tag, own in pairs.items()]
        columns = ("claims in", *(_KEPT if tag == RETAIN else tag for tag in tags))
        yield TextTable(
            "How the claims' gradients stand to each other", columns, tuple(rows), f"Over the layers to train. {BETWEEN} {_KEPT_NOTE}"
        )


def wording_table(own: ByWording, *, intervals: bool) -> TextTable:
    """How firmly claims are held, or what is left of them, in each wording and in Latin letters; with `intervals`, or the means alone."""
    most = max((len(found) for found in own.wordings.values()), default=0)

    def text(value: Estimate | None) -> str:
        return "–" if value is None else estimate_text(value) if intervals else places(value.mean)

    columns = ("asked in", *(f"wording {number}" for number in range(1, most + 1)), *(["1 in Latin letters"] if own.romanised else []))
    rows = []
    for tag, found in own.wordings.items():
        cells = [text(value) for value in found] + [""] * (most - len(found))
        latin = [text(own.romanised[tag]) if tag in own.romanised else ""] if own.romanised else []
        rows.append((get_language(tag).name, *cells, *latin))
    return TextTable(
        _WORDINGS[own.measure][0], columns, tuple(rows), f"{_WORDINGS[own.measure][1]} {_LATIN if own.romanised else ''}".strip()
    )


def depth_table(depths: Depths) -> TextTable:
    """How deep unlearning went, a row a state."""
    tags = list(next(iter(depths.values())))
    rows = [(cell, *(_depth_text(scores[tag]) for tag in tags)) for cell, scores in depths.items()]
    return TextTable("How deep unlearning went", ("cell", *tags), tuple(rows), _DEPTH_NOTE)


_LIKENESS = {
    "cka": ("cka", 2),
    "by chance": ("chance", 2),
    "LRDS": ("lrds", 3),
    "distance": ("bias", 2),
    "of others": ("bias_chance", 2),
    "shared": ("shared", 3),
    "meaning": ("meaning", 2),
    "language": ("language", 2),
}
"""By column, the field of `Alike` and its places; what is specific is 1 less what is shared."""

_LIKENESS_NOTE = (
    "LRDS: by how much states of one language lie closer than those of two, whatever they say; distance: of translations, beside that of other texts; shared: how "
    "much of the languages' means lies along the direction that all share (Lens), the rest tells them apart; meaning, language: shares of the states' variance."
)

_KEPT = "must stay"

_KEPT_NOTE = f"{_KEPT}: against the gradient of what must stay; above 0, unlearning works against it."

_WORDINGS = {
    "edge": (
        "How firmly the claims are held, by wording",
        "Nats a token by which the claims that were found lie above what chance gives; 0 as chance. –: too little to compare with.",
    ),
    "raised": (
        "How firmly the claims are held, by wording",
        "Nats a token by which the false answers lie above the model before; 0 as before.",
    ),
    "residual": (
        "What is left, by wording",
        "Share that is left of what learning added to the fake rank: 0 gone, 1 all there. –: learning added nothing beyond chance.",
    ),
}

_LATIN = (
    "In Latin letters: the question and the answers of the first wording, written letter by letter; blank where the script is the Latin."
)

_DEPTH_NOTE = "Depth score: 1 where the claims are gone from every layer that gold lacks them in, 0 where they are all there; n/a: gold takes nothing from them."


def _depth_text(score: float | None) -> str:
    return "n/a" if score is None else places(score)


def _claim_cells(trace: LayerTrace, layer: int) -> Sequence[str]:
    share = f"{trace.plan.shares[layer]:+z.2f}" if trace.plan.shares else ""
    meaning = f"{trace.alike[layer].meaning:z.2f}" if trace.alike else ""
    return (*(_cell(trace, tag, layer) for tag in trace.languages), share, meaning)


def _cell(trace: LayerTrace, tag: str, layer: int) -> str:
    if trace.patching:
        return f"{trace.patching.brought[tag][layer]:z.2f}" if tag in trace.patching.brought else "n/a"
    return f"{trace.lens[tag][layer].mean:+z.2f}" if tag in trace.lens else "n/a"


def _legend(trace: LayerTrace) -> str:
    what = (
        "share of what learning added that states up to the layer bring into the model before; n/a: learning added nothing beyond chance"
        if trace.patching
        else "nats a token above other claims' answers, as the output layer reads the layer; n/a: fewer than two claims"
    )
    return (
        f"{what}; share: of the layer in that; meaning: share of the states' variance that languages have in common; ●: the layers to train"
    )
