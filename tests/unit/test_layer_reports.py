"""What is shown of a trace: the page, the terminal, JSON and Markdown, on curves made by hand."""

import json
from dataclasses import asdict, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from polyunlearn.intervals import Estimate
from polyunlearn.languages import PAPER_LANGUAGES
from polyunlearn.report.layer_charts import layer_chart
from polyunlearn.report.layers import Traced, print_traced, write_traced_html, write_traced_json, write_traced_markdown
from polyunlearn.tracing.band import make_layer_plan
from polyunlearn.tracing.conflict import Conflict
from polyunlearn.tracing.languages import ByWording
from polyunlearn.tracing.layers import LayerTrace, Located, Patching, SideBySide
from polyunlearn.tracing.similarity import Alike

CONFLICT = Conflict(
    (0.1, 0.2, 0.3, 0.4),
    dict.fromkeys(PAPER_LANGUAGES, (0.5, 0.6, 0.7, 0.8)),
    {one: {other: (0.1, 0.2, 0.3, None) for other in PAPER_LANGUAGES if other != one} for one in PAPER_LANGUAGES},
)


def _nine() -> Located:
    """Nine languages in four layers."""
    curve = (0.0, 0.25, 0.75, 1.0)
    estimates = {tag: tuple(Estimate(own, own - 0.1, own + 0.1, 4) for own in curve) for tag in PAPER_LANGUAGES}
    curves = dict.fromkeys(PAPER_LANGUAGES, curve)
    plan = make_layer_plan([0, 0.1, 0.5, 0.4], (), CONFLICT, "patching")
    patching = Patching({tag: own[-1] for tag, own in estimates.items()}, curves, curves, curves)
    likeness = tuple(Alike(1, 0, own, 1 - own, 0, 0.1, 0.5, 2, 0.9, 0.1) for own in (0.1, 0.2, 0.3, 0.4))
    over = SideBySide(PAPER_LANGUAGES, 24, parallel=False)
    own = LayerTrace(24, PAPER_LANGUAGES, estimates, curves, likeness, patching, CONFLICT, plan, over, (0, 2, 3))
    return Located(("en", "ur"), ("<b>why</b>",), own)


HALF = Estimate(0.5, 0.4, 0.6, 4)
WORDINGS = ByWording("edge", {"en": (HALF, None), "ur": (HALF, HALF)}, {"ur": Estimate(-0.001, -0.2, 0.2, 4)})
TRACED = Traced(
    {"<i>state</i>": _nine()}, {"<i>state</i>": WORDINGS, "cell": replace(WORDINGS, measure="residual")}, {"cell": {"en": 0.5, "ur": None}}
)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "rect", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_the_page_is_whole_and_escaped(tmp_path: Path) -> None:
    path = tmp_path / "layers.html"
    write_traced_html("a <model>", TRACED, path)
    text, tags = path.read_text(encoding="utf-8"), _Tags()
    tags.feed(text)
    assert tags.open == [] and "<i>" not in text and "<b>" not in text and "&lt;b&gt;why" in text
    # Three figures of patching, the lens and conflict with what must stay, a line a language; likeness, LRDS, distances, Lens's two, three of conflict.
    assert tags.seen.count("polyline") == 5 * 9 + 4 + 1 + 2 + 2 + 3 and "script" not in tags.seen and "http" not in text
    assert "n/a" in text and "Urdu" in text and "unlearning.from_layer=" in text
    assert text.count("<h3>What is left, by wording</h3>") == 1 and "<td>0.50 [0.40, 0.60]</td>" in text


def test_names_at_the_ends_of_lines_do_not_cover_each_other() -> None:
    own = _nine().layers
    chart = layer_chart(own.patching.brought, own) if own.patching else ""
    places = sorted(float(part.split('y="')[1].split('"')[0]) for part in chart.split("<text")[1:] if 'class="end"' in part)
    assert len(places) == 9 and all(b - a >= 12.9 for a, b in pairwise(places))
    gap = layer_chart({"en": (None, 0.5, None, 1.0)}, own)
    assert gap.count("<circle") == 2 and layer_chart({"en": (None,) * 4}, own).count("<circle") == 0


def test_the_terminal_json_and_markdown(tmp_path: Path) -> None:
    console = Console(width=140, record=True, file=(tmp_path / "out").open("w"))
    print_traced(TRACED, console)
    text = console.export_text()
    assert "Languages to unlearn in: English, Urdu." in text and "<b>why</b>" in text and "2 ●" in text and "0.50" in text
    assert "would take layers 0, 2 to 3: CKA of at least the mean, 1.00, and LRDS of at most 2.5 times the least, 0.100." in text
    # Of layers 2 and 3 only the first has pairs, 0.30 each; against what must stay 0.70 and 0.80.
    assert "English           +0.30  +0.30" in text and "+0.75" in text
    write_traced_json(TRACED, tmp_path / "out.json")
    data = json.loads((tmp_path / "out.json").read_text())
    own = data["located"]["<i>state</i>"]["layers"]
    assert own["plan"] == json.loads(json.dumps(asdict(_nine().layers.plan))) and own["conflict"]["pairs"]["en"]["ur"] == [
        0.1,
        0.2,
        0.3,
        None,
    ]
    assert data["by_wording"]["cell"]["measure"] == "residual" and own["alike"][0]["lrds"] == 0.1 and own["mute"] == [0, 2, 3]
    write_traced_markdown("Where", TRACED, tmp_path / "out.md")
    written = (tmp_path / "out.md").read_text()
    assert "| Urdu | 0.50 [0.40, 0.60] | 0.50 [0.40, 0.60] | 0.00 [-0.20, 0.20] |" in written
    assert "| English | 0.50 [0.40, 0.60] | – |  |" in written and "| cell | 0.50 | n/a |" in written
    assert "| 1 | 1.00 | 0.00 | 0.100 | 0.50 | 2.00 | 0.900 | 0.20 | 0.80 |" in written and "Over 24 claims' questions in en," in written
    lensed = replace(_nine().layers, patching=None, alike=(), conflict=Conflict((None,) * 4, {}, {}))
    print_traced(Traced({"state": replace(_nine(), layers=lensed)}, {}, {}), console)
    assert "+0.75" in console.export_text()
