"""Writing everything a person reads of a study: the terminal tables, report.html, rows.csv, summary.json."""

from pathlib import Path

from rich.console import Console

from polyunlearn.analysis.summary import summarise
from polyunlearn.report.export import write_rows_csv, write_summary
from polyunlearn.report.html import write_html
from polyunlearn.report.terminal import print_report
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store


def build_report(folder: Path, console: Console) -> Path:
    """Analyse the rows of a study and write its report beside them; returns the path of report.html."""
    store = Store(folder)
    manifest = store.manifest()
    config = StudyConfig.model_validate(manifest["study"]["config"])
    figures = summarise(config, store)
    write_rows_csv(store, folder / "rows.csv")
    write_summary(figures, manifest["study"]["model"]["name"], folder / "summary.json")
    path = folder / "report.html"
    write_html(config, manifest, store, figures, path)
    print_report(figures, console)
    return path
