"""The charts of a trace: a line a language, or a figure, over the layers, as SVG text."""

from collections.abc import Mapping, Sequence
from html import escape

from markupsafe import Markup

from polyunlearn.languages import get_language
from polyunlearn.report.charts import DASHES
from polyunlearn.tracing.layers import LayerTrace

COLOURS = (
    "#c0392b",
    "#2e6fb7",
    "#1e8449",
    "#8e44ad",
    "#d35400",
    "#16a085",
    "#7f6000",
    "#c2185b",
    "#5d6d7e",
    "#00838f",
    "#6d4c41",
    "#4527a0",
)
_LEFT, _TOP, _WIDTH, _HEIGHT, _GAP = 44, 12, 420, 220, 13


def charts(trace: LayerTrace) -> list[tuple[str, str, Markup]]:
    """Of each figure a heading, what it means, and the chart."""
    found: list[tuple[str, str, Markup]] = []

    def add(heading: str, note: str, curves: Mapping[str, Sequence[float | None]]) -> None:
        if curves:
            found.append((heading, note, Markup(layer_chart(curves, trace))))

    if trace.patching:
        said = "Share of what learning added to the claims' log-prob, in the languages where it added anything."
        add("Brought over by patching", f"{said} States of this model up to the layer, put into the model before.", trace.patching.brought)
        add("Lost by patching", f"{said} States of the model before up to the layer, put into this one.", trace.patching.lost)
        add("Brought over at the answer", f"{said} As the first, but of the states alone that predict the answer.", trace.patching.answered)
    lens = {tag: [layer.mean for layer in own] for tag, own in trace.lens.items()}
    add("Logit lens", "How far the claims' answers lie above other claims' answers to the same questions, nats a token.", lens)
    if trace.alike:
        for heading, note, lines in _LIKENESS:
            add(
                heading,
                f"{note} Over {over_text(trace)}.",
                {name: [getattr(own, field) for own in trace.alike] for name, field in lines.items()},
            )
    add(
        "Conflict between languages",
        f"{BETWEEN} The mean over pairs, the pair that is lowest in the layer, and that which is highest.",
        _between(trace),
    )
    note = "Cosine of the claims' gradient and that of what must stay; above 0, unlearning works against what must stay."
    add("Conflict with what must stay", note, trace.conflict.against)
    return found


def over_text(trace: LayerTrace) -> str:
    """What languages were set side by side over."""
    what = "parallel texts" if trace.over.parallel else "claims' questions"
    return f"{trace.over.texts} {what} in {', '.join(trace.over.languages)}"


BETWEEN = "Cosine of the claims' gradients in two languages; below 0, unlearning in one works against the other."

_LIKENESS = (
    (
        "How alike languages are",
        "CKA between languages over texts that say the same; the same by chance; shares of meaning and of language in the states' variance.",
        {"cka": "cka", "chance": "chance", "meaning": "meaning", "language": "language"},
    ),
    (
        "LRDS",
        "By how much states of one language lie closer than those of two, whatever they say (cosine): high where language dominates.",
        {"lrds": "lrds"},
    ),
    (
        "Distance of translations",
        "Mean squared distance of two languages' states, scaled to variance 1, of texts that say the same and of others; 2 where unrelated.",
        {"the same": "bias", "others": "bias_chance"},
    ),
    (
        "Lens's subspaces",
        "Shares of the languages' means, as squared lengths: along the direction that all share, and in the space that tells them apart.",
        {"shared": "shared", "specific": "specific"},
    ),
)
"""Heading, note and lines of the charts of likeness."""


def _between(trace: LayerTrace) -> dict[str, list[float | None]]:
    """By layer the mean over pairs of languages, the least and the most; empty where there are no pairs."""
    curves = [own for others in trace.conflict.pairs.values() for own in others.values()]
    if not curves:
        return {}
    layers = [[value for value in own if value is not None] for own in zip(*curves, strict=True)]
    return {
        "mean": list(trace.conflict.between),
        "lowest": [min(own, default=None) for own in layers],
        "highest": [max(own, default=None) for own in layers],
    }


def line_style(number: int) -> tuple[str, str]:
    """The colour and dashes of a line; broken where there are more languages than colours. Each also has its tag where it ends."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def layer_chart(curves: Mapping[str, Sequence[float | None]], trace: LayerTrace) -> str:
    """A line a curve over the layers, as SVG; the band is shaded, and a language has the same colour in all charts. None leaves a gap."""
    values = [value for own in curves.values() for value in own if value is not None]
    low, high = min([0.0, *values]), max([0.0, *values])
    high = high if high > low else low + 1.0
    plan, order = trace.plan, list(trace.languages)

    def x(layer: float) -> float:
        return _LEFT + _WIDTH * (layer + 0.5) / plan.layers

    def y(value: float) -> float:
        return _TOP + _HEIGHT * (high - value) / (high - low)

    left, width = x(plan.from_layer - 0.5), _WIDTH * (plan.to_layer - plan.from_layer) / plan.layers
    parts = [
        f'<rect x="{left:.1f}" y="{_TOP}" width="{width:.1f}" height="{_HEIGHT}" class="band"><title>the layers to train</title></rect>'
    ]
    for share in range(5):
        at = low + (high - low) * share / 4
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y(at):.1f}" y2="{y(at):.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(at) + 4:.1f}" class="tick">{at:.2g}</text>')
    every = max(1, plan.layers // 20)
    parts += [f'<text x="{x(layer):.1f}" y="{_TOP + _HEIGHT + 16}" class="label">{layer}</text>' for layer in range(0, plan.layers, every)]
    parts.append(f'<text x="{_LEFT + _WIDTH / 2}" y="{_TOP + _HEIGHT + 34}" class="label">layer</text>')
    ends: list[tuple[float, str, str]] = []
    for number, (name, own) in enumerate(curves.items()):
        colour, dashes = line_style(order.index(name) if name in order else number)
        places = [(layer, value) for layer, value in enumerate(own) if value is not None]
        if not places:
            continue
        points = " ".join(f"{x(layer):.1f},{y(value):.1f}" for layer, value in places)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-dasharray="{dashes}"/>')
        for layer, value in places:
            title = f"{get_language(name).name if name in order else name}, layer {layer}: {value:.3f}"
            parts.append(f'<circle cx="{x(layer):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"><title>{escape(title)}</title></circle>')
        ends.append((y(places[-1][1]), name, colour))
    parts += _end_labels(ends, x(plan.layers - 0.5) + 6)
    width_all, height = _LEFT + _WIDTH + 70, _TOP + _HEIGHT + 42
    return f'<svg viewBox="0 0 {width_all} {height}" width="{width_all}" role="img">{"".join(parts)}</svg>'


def _end_labels(ends: Sequence[tuple[float, str, str]], x: float) -> list[str]:
    """The names where lines end, moved apart so that none covers another: down first, then up from the chart's lower edge."""
    ordered = sorted(ends)
    places: list[float] = []
    for at, _, _ in ordered:
        places.append(max(at, places[-1] + _GAP) if places else at)
    lowest = float(_TOP + _HEIGHT)
    for index in reversed(range(len(places))):
        places[index] = min(places[index], lowest)
        lowest = places[index] - _GAP
    return [
        f'<text x="{x:.1f}" y="{at + 4:.1f}" class="end" fill="{colour}">{escape(name)}</text>'
        for at, (_, name, colour) in zip(places, ordered, strict=True)
    ]
