"""The report's charts, as SVG text. Labels are escaped; sizes are in pixels."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Literal

from polyunlearn.analysis.comparison import Comparison
from polyunlearn.analysis.recovery import CurvePoint
from polyunlearn.analysis.summary import CellFigures, TrajectoryPoint

_COLOURS = {
    "base": "#777777",
    "gold": "#b8860b",
    "learned": "#c0392b",
    "english": "#2e6fb7",
    "source": "#8e44ad",
    "english+source": "#1e8449",
    "all": "#d35400",
}
_FURTHER = ("#16a085", "#7f6000", "#c2185b", "#5d6d7e", "#00838f", "#6d4c41", "#9e9d24", "#4527a0")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "1 2", "12 4")
"""Lines of more names than there are colours are broken, so that no two look the same."""

_TRAINED = {"relearning": "learned", "benign_relearning": "source", "unrelated_relearning": "base"}
"""The colours of attacks that train."""

BUDGETS_SHOWN = 4
"""How many times the budget the chart of utility losses is wide."""

_TOP, _LEFT, _HEIGHT = 14, 40, 170


Style = tuple[str, str]
"""The colour and the dashes of a line."""


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name: states and the paper's strategies keep their colours, others take further ones in turn, broken when these are used up."""
    further = itertools.cycle((colour, dashes) for dashes in DASHES for colour in _FURTHER)
    return {name: (_COLOURS[name], "") if name in _COLOURS else next(further) for name in names}


def before_after_chart(
    states: Mapping[str, CellFigures], palette: Mapping[str, Style], figure: Literal["fake_rank", "real_quality"], name: str
) -> str:
    """Every state's value in every query language, with its interval, as one group of bars a language."""
    tags = list(next(iter(states.values())).by_language)
    bar, gap = 12, 18
    group = bar * len(states) + gap
    width = _LEFT + group * len(tags) + 10
    parts = _axes(width, name)
    for at, tag in enumerate(tags):
        for index, (state, item) in enumerate(states.items()):
            estimate = getattr(item.by_language[tag], figure)
            x = _LEFT + at * group + gap / 2 + index * bar
            colour, dashes = palette[state]
            # A bar is pale where the line of its name is broken.
            look = f'fill="{colour}"' if not dashes else f'fill="{colour}" fill-opacity="0.3" stroke="{colour}" stroke-dasharray="{dashes}"'
            title = f"{state}, asked in {tag}: {estimate.mean:z.2f} [{estimate.low:z.2f}, {estimate.high:z.2f}], {estimate.n} stories"
            middle = x + bar / 2 - 1
            parts.append(
                f'<g><title>{escape(title)}</title><rect x="{x:.1f}" y="{_y(estimate.mean):.1f}" width="{bar - 2}" '
                f'height="{max(1.0, _HEIGHT * estimate.mean):.1f}" {look}/>'
                f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{_y(estimate.high):.1f}" y2="{_y(estimate.low):.1f}" class="whisker"/></g>'
            )
        parts.append(f'<text x="{_LEFT + at * group + group / 2:.1f}" y="{_TOP + _HEIGHT + 16}" class="label">{escape(tag)}</text>')
    return _svg(width, _TOP + _HEIGHT + 24, parts)


def trajectory_chart(points: Mapping[str, Sequence[TrajectoryPoint]], palette: Mapping[str, Style]) -> str:
    """Per way of unlearning, from the learned state on: what is left of the claims against what it cost in real information."""
    width, span = 560, 480
    most = max((point.real_loss_rise for path in points.values() for point in path if math.isfinite(point.real_loss_rise)), default=0.0)
    scale = max(0.5, most)
    parts = _axes(width, "worst language: probability of the false name")
    for name, path in points.items():
        colour, dashes = palette[name]
        # A model that has diverged has no place.
        path = [point for point in path if math.isfinite(point.real_loss_rise) and math.isfinite(point.fake_probability)]
        places = [(_LEFT + 10 + span * max(0.0, point.real_loss_rise) / scale, _y(point.fake_probability)) for point in path]
        parts.append(
            f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        )
        for (x, y), point in zip(places, path, strict=True):
            title = (
                f"{name}, step {point.step}: false name {point.fake_probability:z.2f} in the worst language; "
                f"real loss +{point.real_loss_rise:z.2f} nats in the worst language"
            )
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"><title>{escape(title)}</title></circle>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<text x="{_LEFT + 10 + span * share:.1f}" y="{_TOP + _HEIGHT + 16}" class="label">{scale * share:z.2f}</text>')
    parts.append(
        f'<text x="{width / 2}" y="{_TOP + _HEIGHT + 32}" class="label">rise of the real loss, nats a token, in the worst language that knew the real stories</text>'
    )
    return _svg(width, _TOP + _HEIGHT + 40, parts)


def budget_chart(found: Comparison, names: Sequence[str], palette: Mapping[str, Style]) -> str:
    """Per way of unlearning, from the learned state on: what is left in the worst language against the utility loss; `names` are those of the
    ways. What lies beyond an edge of the chart is drawn hollow on it."""
    width, span = 560, 480
    scale = BUDGETS_SHOWN * max(found.budget, 0.001)

    def across(loss: float) -> float:
        return _LEFT + 10 + span * min(loss, scale) / scale

    parts = _axes(width, "worst language: share of what learning added that is left")
    edge = across(found.budget)
    parts.append(
        f'<line x1="{edge:.1f}" x2="{edge:.1f}" y1="{_TOP}" y2="{_TOP + _HEIGHT}" class="whisker"><title>the budget</title></line>'
    )
    for name, way in zip(names, found.ways, strict=True):
        colour, dashes = palette[name]
        places = [(across(point.utility_loss), _y(point.worst_residual)) for point in way.path]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dashes}"/>')
        for (x, y), point in zip(places, way.path, strict=True):
            title = (
                f"{name}, step {point.step}: {point.worst_residual:z.2f} left in the worst language; utility loss {point.utility_loss:.1%}"
            )
            beyond = point.utility_loss > scale or not 0 <= point.worst_residual <= 1
            look = f'fill="#fff" stroke="{colour}" stroke-width="2"' if beyond else f'fill="{colour}"'
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" {look}><title>{escape(title)}</title></circle>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<text x="{across(scale * share):.1f}" y="{_TOP + _HEIGHT + 16}" class="label">{scale * share:.1%}</text>')
    parts.append(
        f'<text x="{width / 2}" y="{_TOP + _HEIGHT + 32}" class="label">utility loss; the upright line is the budget, hollow points lie beyond the edge that they are drawn at</text>'
    )
    return _svg(width, _TOP + _HEIGHT + 40, parts)


def relearning_chart(curves: Mapping[str, Sequence[CurvePoint]]) -> str:
    """Per attack that trains, the fake rank of the unlearned state (full) and of gold (broken) over its steps, which stand at even distances."""
    width, span = 560, 480
    steps = [point.step for point in next(iter(curves.values()))]
    places = {step: _LEFT + 10 + span * at / max(1, len(steps) - 1) for at, step in enumerate(steps)}
    parts = _axes(width, "fake rank, mean over languages taught and asked")
    for attack, points in curves.items():
        colour = _COLOURS[_TRAINED[attack]]
        for state, dashes in (("unlearned", ""), ("gold", ' stroke-dasharray="5 4"')):
            line = [(places[point.step], _y(getattr(point, state))) for point in points]
            at = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
            parts.append(f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
            for (x, y), point in zip(line, points, strict=True):
                title = f"{attack}, {state}, step {point.step:g}: {getattr(point, state):z.2f}"
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(title)}</title></circle>')
    for step, x in places.items():
        parts.append(f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 16}" class="label">{step:g}</text>')
    parts.append(f'<text x="{width / 2}" y="{_TOP + _HEIGHT + 32}" class="label">steps of training</text>')
    return _svg(width, _TOP + _HEIGHT + 40, parts)


def _y(value: float) -> float:
    return _TOP + _HEIGHT * (1 - max(0.0, min(1.0, value)))


def _axes(width: float, label: str) -> list[str]:
    lines = [
        f'<line x1="{_LEFT}" x2="{width}" y1="{_y(share):.1f}" y2="{_y(share):.1f}" class="grid"/>'
        f'<text x="{_LEFT - 6}" y="{_y(share) + 4:.1f}" class="tick">{share:g}</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    return [f"<title>{escape(label)}</title>", f'<text x="{_LEFT}" y="{_TOP - 4}" class="axis">{escape(label)}</text>', *lines]


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img">{"".join(parts)}</svg>'
