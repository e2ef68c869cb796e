"""summary.json and rows.csv."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.csv

from polyunlearn.analysis.summary import CellFigures, LanguageFigures
from polyunlearn.files import atomic_path, finite, write_json_atomically
from polyunlearn.study.store import Store


def summary(figures: Sequence[CellFigures], model: str) -> dict[str, Any]:
    """The figures of a study as plain data, in the schema that the README documents."""
    return {
        "schema": 1,
        "model": model,
        "seconds": round(sum(item.record.seconds for item in figures), 1),
        "peak_rss_bytes": max((item.record.peak_rss_bytes for item in figures), default=0),
        "cells": [_cell(item) for item in figures],
    }


def write_summary(figures: Sequence[CellFigures], model: str, path: Path) -> None:
    """Write summary.json, atomically; what a model that has diverged has no number for is null."""
    write_json_atomically(path, finite(summary(figures, model)))


def write_rows_csv(store: Store, path: Path) -> None:
    """Write every row of a study as CSV, atomically."""
    table = store.query("SELECT * FROM rows ORDER BY cell, step, language, asks, story, wording, metric")
    with atomic_path(path) as temporary:
        pyarrow.csv.write_csv(table, temporary)


def _cell(item: CellFigures) -> dict[str, Any]:
    cell = item.cell
    return {
        "source": cell.source,
        "strategy": cell.strategy,
        "method": cell.method,
        "seed": cell.seed,
        "state": cell.state,
        "steps": item.record.steps,
        "tokens": item.record.tokens,
        "seconds": round(item.record.seconds, 1),
        "by_language": {tag: _language(figures, collapsed=bool(item.collapse)) for tag, figures in item.by_language.items()},
        "collapsed": bool(item.collapse),
        "collapse_reasons": list(item.collapse),
        "found": asdict(item.record.found) if item.record.found else None,
    }


def _language(figures: LanguageFigures, *, collapsed: bool) -> dict[str, Any]:
    return {
        "fake_rank": figures.fake_rank.mean,
        "fake_rank_ci": [figures.fake_rank.low, figures.fake_rank.high],
        "fake_count": figures.fake_count,
        "fake_probability": figures.fake_probability,
        "n": figures.questions,
        "real_quality": figures.real_quality.mean,
        "real_quality_ci": [figures.real_quality.low, figures.real_quality.high],
        "real_exact": figures.real_exact,
        "real_chrf": figures.real_chrf,
        "real_loss": figures.real_loss,
        "repetition": figures.repetition,
        "empty": figures.empty,
        "off_script": figures.off_script,
        "bits_per_byte": figures.bits_per_byte,
        "gate": bool(figures.gate),
        # A model that broke says nothing false either.
        "standing": "collapsed" if collapsed and figures.standing == "cleared" else figures.standing,
        "residual": figures.residual.mean if figures.residual else None,
        "residual_ci": [figures.residual.low, figures.residual.high] if figures.residual else None,
    }
