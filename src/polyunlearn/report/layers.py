"""Where claims live in a model, layer by layer: in the terminal, as JSON and Markdown, and as one self-contained HTML page."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.layer_charts import charts, line_style
from polyunlearn.report.layer_tables import Depths, TextTable, depth_table, trace_tables, wording_table
from polyunlearn.report.pages import write_page
from polyunlearn.report.tables import markdown_table
from polyunlearn.tracing.languages import ByWording
from polyunlearn.tracing.layers import LayerTrace, Located
from polyunlearn.tracing.similarity import WIDENS


@dataclass(frozen=True)
class Traced:
    """What a trace shows, by state: where it holds the claims, how firmly by how they are asked (of unlearned states what is left), and how deep unlearning went."""

    located: Mapping[str, Located]
    by_wording: Mapping[str, ByWording]
    depths: Depths

    def of(self, names: Collection[str]) -> "Traced":
        """What of it is of these states."""
        return Traced(
            {name: own for name, own in self.located.items() if name in names},
            {name: own for name, own in self.by_wording.items() if name in names},
            {name: own for name, own in self.depths.items() if name in names},
        )


def print_traced(traced: Traced, console: Console) -> None:
    """Print of each state the languages, the layers and the band with their reasons; then what unlearning left, and how deep it went."""
    for name, own in traced.located.items():
        console.print(name, style="bold", highlight=False, markup=False)
        for table in _tables(traced, name, intervals=False):
            _print_table(table, console)
        for sentence in located_sentences(own):
            console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        console.print()
    for name, table in _of_unlearned(traced, intervals=False):
        console.print(name, style="bold", highlight=False, markup=False)
        _print_table(table, console)
    if traced.depths:
        _print_table(depth_table(traced.depths), console)


def located_sentences(own: Located) -> list[str]:
    """The languages and the band to unlearn in, and why; and the layers that MUTE would take."""
    names, plan = ", ".join(get_language(tag).name for tag in own.languages), own.layers.plan
    return [
        f"Languages to unlearn in: {names}.",
        *own.reasons,
        f"Layers to train: {plan.from_layer} to {plan.to_layer - 1} of 0 to {plan.layers - 1}; in a study: {plan.overrides}",
        *plan.reasons,
        *([_mute_sentence(own.layers)] if own.layers.alike else []),
    ]


def write_traced_json(traced: Traced, path: Path) -> None:
    """Write every figure as JSON in full precision, atomically."""
    located = {name: asdict(own) for name, own in traced.located.items()}
    by_wording = {name: asdict(own) for name, own in traced.by_wording.items()}
    write_json_atomically(path, {"schema": 1, "located": located, "by_wording": by_wording, "depths": traced.depths})


def write_traced_markdown(title: str, traced: Traced, path: Path) -> None:
    """Write the outcome in words and every table as Markdown, atomically."""
    lines = [f"# {title}", "", "Made by `polyunlearn trace`. In brackets 95 % intervals over claims.", ""]
    for name, own in traced.located.items():
        lines += [f"## {name}", "", *(f"- {sentence}" for sentence in located_sentences(own)), ""]
        lines += [line for table in _tables(traced, name, intervals=True) for line in _markdown(table.title, table)]
    for name, table in _of_unlearned(traced, intervals=True):
        lines += [f"## {name}", "", *_markdown(table.title, table)]
    if traced.depths:
        lines += _markdown("Depth", depth_table(traced.depths))
    write_text_atomically(path, "\n".join(lines).rstrip("\n") + "\n")


def write_traced_html(title: str, traced: Traced, path: Path) -> None:
    """Write the page atomically: of each state the outcome in words, a chart a figure with a line a language, and every table."""
    states = [
        {
            "name": name,
            "sentences": located_sentences(own),
            "charts": charts(own.layers),
            "languages": [(get_language(tag), *line_style(number)) for number, tag in enumerate(own.layers.languages)],
            "tables": list(_tables(traced, name, intervals=True)),
        }
        for name, own in traced.located.items()
    ]
    depths = [depth_table(traced.depths)] if traced.depths else []
    write_page("layers.html.jinja", path, title=title, states=states, unlearned=list(_of_unlearned(traced, intervals=True)), depths=depths)


def _tables(traced: Traced, name: str, *, intervals: bool) -> Iterator[TextTable]:
    if name in traced.by_wording:
        yield wording_table(traced.by_wording[name], intervals=intervals)
    yield from trace_tables(traced.located[name].layers)


def _of_unlearned(traced: Traced, *, intervals: bool) -> Iterator[tuple[str, TextTable]]:
    """What is left in each unlearned state."""
    for name, own in traced.by_wording.items():
        if name not in traced.located:
            yield name, wording_table(own, intervals=intervals)


def _mute_sentence(trace: LayerTrace) -> str:
    """Which layers MUTE would take, beside the band, which does not follow it."""
    mean, least = fmean(own.cka for own in trace.alike), min(own.lrds for own in trace.alike)
    starts = [layer for layer in trace.mute if layer - 1 not in trace.mute]
    ends = [layer for layer in trace.mute if layer + 1 not in trace.mute]
    runs = [str(first) if first == last else f"{first} to {last}" for first, last in zip(starts, ends, strict=True)]
    named = f"layer{'s' if len(trace.mute) > 1 else ''} {', '.join(runs)}" if runs else "no layer"
    return (
        f"MUTE (arXiv 2602.22562), which looks at how alike languages are and not at the claims, would take {named}: CKA of at least the mean, {mean:.2f}, and "
        f"LRDS of at most {WIDENS:g} times the least, {least:z.3f}."
    )


def _print_table(own: TextTable, console: Console) -> None:
    # A title of the table's own would be broken to its width.
    console.print(own.title, style="italic", highlight=False, markup=False)
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for number, column in enumerate(own.columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for number, row in enumerate(own.rows):
        table.add_row(*(Text(cell) for cell in row), style="bold" if number in own.strong else "")
    console.print(table)
    console.print(own.note, style="dim", highlight=False, markup=False)


def _markdown(title: str, own: TextTable) -> list[str]:
    return [f"### {title}", "", *markdown_table(own.columns, own.rows), "", own.note, ""]
