"""report.html: one self-contained file, readable offline; every text in it is escaped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from polyunlearn.analysis.comparison import compare
from polyunlearn.analysis.recovery import hardest, recoveries, relearning_curves, relearning_matrix
from polyunlearn.analysis.summary import CLEARED, COST, CellFigures, TrajectoryPoint, left_at_cost, trajectory
from polyunlearn.analysis.tables import GROUPS, choices, spread_matrix, strategy_table, traces, way_of_unlearning
from polyunlearn.languages import get_language
from polyunlearn.report.attacks import form_text
from polyunlearn.report.charts import Style, before_after_chart, budget_chart, relearning_chart, styles, trajectory_chart
from polyunlearn.report.comparison import way_texts
from polyunlearn.report.glossary import GLOSSARY
from polyunlearn.report.pages import write_page
from polyunlearn.report.tables import estimate_text
from polyunlearn.report.verdict import verdict
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store
from polyunlearn.tracing.languages import COVERED, LIVES

SAMPLE_STORIES = 6
"""How many stories' answers the report shows."""


def write_html(config: StudyConfig, manifest: Mapping[str, Any], store: Store, figures: Sequence[CellFigures], path: Path) -> None:
    """Render the report and write it atomically."""
    matrix = spread_matrix(figures)
    paths = trajectory(store, figures)
    several = len(config.methods) > 1
    palette = styles(dict.fromkeys(_name(item.cell, several) for item in figures))
    write_page(
        "report.html.jinja",
        path,
        heat=_heat,
        config=config,
        manifest=manifest,
        settings=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        languages={tag: get_language(tag) for tag in config.languages},
        matrix=matrix,
        groups=GROUPS,
        strategies=strategy_table(figures),
        traces=traces(figures),
        choices=choices(figures),
        layer_pages=[(cell, page.relative_to(path.parent)) for cell in study_cells(config) if (page := store.layers_page(cell)).is_file()],
        distils=any(way.branches == "distil" for way in config.ways),
        lives=LIVES,
        enough=COVERED,
        verdict=verdict(config, store, figures),
        charts=[_source_charts(source, figures, paths, palette, several) for source in dict.fromkeys(line[0].source for line in matrix)],
        figures=figures,
        samples=_samples(store, config),
        answered=any(language.fake_count is not None for item in figures for language in item.by_language.values()),
        comparison=_comparison(config, store, palette, several),
        attacks=_attacks(config, store, several),
        glossary=GLOSSARY,
        cleared=CLEARED,
        cost=COST,
        styles=palette,
        seconds=sum(item.record.seconds for item in figures),
        peak=max((item.record.peak_rss_bytes for item in figures), default=0),
    )


def _name(cell: Cell, several_methods: bool) -> str:
    """What a state is called in charts."""
    return way_of_unlearning(cell.strategy, cell.method, several_methods) if cell.strategy and cell.method else cell.state


def _source_charts(
    source: str,
    figures: Sequence[CellFigures],
    paths: Mapping[str, list[TrajectoryPoint]],
    palette: Mapping[str, Style],
    several_methods: bool,
) -> dict[str, Any]:
    first = min(item.cell.seed for item in figures)
    states = {_name(item.cell, several_methods): item for item in figures if item.cell.seed == first and item.cell.source in (None, source)}
    points = {name: paths[item.cell.id] for name, item in states.items() if item.cell.id in paths}
    return {
        "source": source,
        "seed": str(first),
        "fake": before_after_chart(
            states, palette, "fake_rank", f"fake rank by language, {get_language(source).name} claims, seed {first}"
        ),
        "real": before_after_chart(
            states, palette, "real_quality", f"real quality by language, {get_language(source).name} claims, seed {first}"
        ),
        "numbers": {
            figure: {name: [estimate_text(getattr(own, figure)) for own in item.by_language.values()] for name, item in states.items()}
            for figure in ("fake_rank", "real_quality")
        },
        "trajectory": trajectory_chart(points, palette),
        "at_cost": {name: left_at_cost(path) for name, path in points.items()},
    }


def _comparison(config: StudyConfig, store: Store, palette: Mapping[str, Style], several_methods: bool) -> dict[str, Any] | None:
    """The comparison at the same loss of utility; None where the study did not measure it on the way."""
    found = compare(config, store)
    if found is None:
        return None
    names = [way_of_unlearning(way.strategy, way.method, several_methods) for way in found.ways]
    lines = [[name, *way_texts(way)] for name, way in zip(names, found.ways, strict=True)]
    return {"budget": found.budget, "lines": lines, "chart": budget_chart(found, names, palette)}


def _attacks(config: StudyConfig, store: Store, several_methods: bool) -> list[dict[str, Any]]:
    """What attacks brought back, by source, method and strategy; empty where nothing was attacked."""
    if not store.is_attacked():
        return []
    found, chosen = recoveries(config, store), hardest(config, store)
    parts = []
    for way in dict.fromkeys((own.source, own.method, own.strategy) for own in found):
        own = [one for one in found if (one.source, one.method, one.strategy) == way]
        curves = relearning_curves(own)
        parts.append(
            {
                "source": way[0],
                "name": way_of_unlearning(way[2], way[1], several_methods),
                "hardest": [(form_text(one.attempt), one) for one in chosen if (one.source, one.method, one.strategy) == way],
                "matrix": relearning_matrix(own),
                "chart": relearning_chart(curves) if curves else "",
            }
        )
    return parts


def _samples(store: Store, config: StudyConfig) -> list[dict[str, Any]]:
    """Greedy answers to the first wording of some stories, by story, source and language; of the study's first method."""
    seed = min(config.seeds)
    table = store.query(
        f"""SELECT story, language, state, source, strategy, text, max(value) FILTER (metric = 'says') AS says FROM rows
        WHERE asks = 'fake' AND wording = 0 AND "end" AND metric = 'says' AND seed = {seed} AND method IS NOT DISTINCT FROM
        (CASE WHEN state = 'unlearned' THEN '{config.methods[0]}' END) GROUP BY ALL ORDER BY story, language"""
    )
    stories: dict[str, dict[str, dict[tuple[str, str, str], tuple[str, bool]]]] = {}
    for row in table.to_pylist():
        key = (row["state"], row["source"] or "", row["strategy"] or "")
        stories.setdefault(row["story"], {}).setdefault(row["language"], {})[key] = (row["text"], row["says"] > 0)
    result = []
    for story in list(stories)[:SAMPLE_STORIES]:
        for source in config.sources:
            told = {cell.strategy for cell in study_cells(config) if cell.source == source and cell.strategy}
            columns = [("base", "", ""), ("learned", source, ""), *(("unlearned", source, own) for own in config.strategies if own in told)]
            lines = [(tag, [stories[story].get(tag, {}).get(key) for key in columns]) for tag in config.languages]
            result.append({"story": story, "source": source, "columns": [key[2] or key[0] for key in columns], "lines": lines})
    return result


def _heat(value: float) -> str:
    """A background for a share between 0 and 1: white to deep red, with readable text."""
    share = max(0.0, min(1.0, value))
    # Dark ink has the better contrast up to there.
    ink = "#fff" if share > 0.8 else "#222"
    return f"background: hsl(12 {30 + 50 * share:.0f}% {97 - 52 * share:.0f}%); color: {ink}"
