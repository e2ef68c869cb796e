"""Where claims live in a model, layer by layer: in the terminal, as JSON, and as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.charts import DASHES
from polyunlearn.tracing.layers import LayerTrace, Located

Depths = Mapping[str, Mapping[str, float | None]]
"""The depth score of each unlearned state, by language."""

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


def print_located(located: Mapping[str, Located], depths: Depths, console: Console) -> None:
    """Print of each state the languages, the layers and the band with their reasons; then how deep unlearning went."""
    for name, own in located.items():
        console.print(_table(name, own.layers))
        console.print(_legend(own.layers), style="dim", highlight=False, markup=False)
        for sentence in located_sentences(own):
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        console.print()
    if depths:
        tags = list(next(iter(depths.values())))
        table = Table(title="How deep unlearning went", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for column in ("cell", *tags):
            table.add_column(column, justify="left" if column == "cell" else "right", overflow="fold")
        for cell, scores in depths.items():
            table.add_row(Text(cell), *(depth_text(scores[tag]) for tag in tags))
        console.print(table)
        console.print(DEPTH_NOTE, style="dim", highlight=False, markup=False)


DEPTH_NOTE = "Depth score: 1 where the claims are gone from every layer that gold lacks them in, 0 where they are all there; n/a: gold takes nothing from them."


def depth_text(score: float | None) -> str:
    """A depth score as it is printed."""
    return "n/a" if score is None else f"{score:z.2f}"


def located_sentences(own: Located) -> list[str]:
    """The languages and the band to unlearn in, and why."""
    names, plan = ", ".join(get_language(tag).name for tag in own.languages), own.layers.plan
    return [
        f"Languages to unlearn in: {names}.",
        *own.reasons,
        f"Layers to train: {plan.from_layer} to {plan.to_layer - 1} of 0 to {plan.layers - 1}; in a study: {plan.overrides}",
        *plan.reasons,
    ]


def write_located_json(located: Mapping[str, Located], depths: Depths, path: Path) -> None:
    """Write every figure as JSON in full precision, atomically."""
    data = {"schema": 1, "located": {name: asdict(own) for name, own in located.items()}, "depths": depths}
    write_json_atomically(path, data)


def write_located_html(title: str, located: Mapping[str, Located], depths: Depths, path: Path) -> None:
    """Write the page atomically: of each state the outcome in words, and a chart a figure with a line a language."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["depth"] = depth_text
    template = environment.from_string(files("polyunlearn.report").joinpath("layers.html.jinja").read_text(encoding="utf-8"))
    states = [
        {
            "name": name,
            "sentences": located_sentences(own),
            "charts": charts(own.layers),
            "languages": [(get_language(tag), *line_style(number)) for number, tag in enumerate(own.layers.languages)],
        }
        for name, own in located.items()
    ]
    page = template.render(
        title=title, states=states, depths=depths, tags=list(next(iter(depths.values()), {})), languages=get_language, note=DEPTH_NOTE
    )
    write_text_atomically(path, page)


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
        shares = {name: [getattr(own, name) for own in trace.alike] for name in ("cka", "chance", "meaning", "language")}
        note = (
            "CKA between languages over the same questions; the same by chance; shares of meaning and of language in the states' variance."
        )
        add("How alike languages are", note, shares)
    note = "Cosine of the claims' gradient and that of what must stay; above 0, unlearning works against what must stay."
    add("Conflict with what must stay", note, trace.conflict.against)
    return found


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
            title = f"{_name(name)}, layer {layer}: {value:.3f}"
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


def _table(name: str, trace: LayerTrace) -> Table:
    table = Table(title=name, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("layer")
    for tag in trace.languages:
        table.add_column(tag, justify="right")
    table.add_column("share", justify="right")
    table.add_column("meaning", justify="right")
    for layer in range(trace.layers):
        inside = trace.plan.from_layer <= layer < trace.plan.to_layer
        cells = [_cell(trace, tag, layer) for tag in trace.languages]
        share = f"{trace.plan.shares[layer]:+z.2f}" if trace.plan.shares else ""
        meaning = f"{trace.alike[layer].meaning:z.2f}" if trace.alike else ""
        table.add_row(f"{layer}{' ●' if inside else ''}", *cells, share, meaning, style="bold" if inside else "")
    return table


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


def _name(name: str) -> str:
    return name if name in ("cka", "chance", "meaning", "language") else get_language(name).name
