"""Writing everything a person reads of a study: the terminal tables, report.html, rows.csv, summary.json; and its comparison of methods."""

from pathlib import Path

from rich.console import Console

from polyunlearn.analysis.comparison import compare
from polyunlearn.analysis.recovery import hardest, recoveries
from polyunlearn.analysis.selectivity import selectivities
from polyunlearn.analysis.summary import summarise
from polyunlearn.errors import UserError
from polyunlearn.report.attacks import print_recoveries, write_recoveries_json, write_recoveries_markdown
from polyunlearn.report.comparison import print_comparison, write_comparison_json, write_comparison_markdown
from polyunlearn.report.export import write_rows_csv, write_summary
from polyunlearn.report.html import write_html
from polyunlearn.report.terminal import print_report
from polyunlearn.study.cells import study_cells
from polyunlearn.study.store import Store


def build_report(folder: Path, console: Console) -> Path:
    """Analyse the rows of a study and write its report beside them; returns the path of report.html."""
    store = Store(folder)
    manifest = store.manifest()
    config = store.config()
    figures = summarise(config, store)
    write_rows_csv(store, folder / "rows.csv")
    write_summary(figures, manifest["study"]["model"]["name"], folder / "summary.json")
    path = folder / "report.html"
    write_html(config, manifest, store, figures, path)
    print_report(figures, console)
    return path


def build_comparison(folder: Path, budget: float, console: Console, json_file: Path | None, markdown_file: Path | None) -> None:
    """Compare the methods of a study at a utility budget; print it, and write it where files are given.

    Raises:
        UserError: where no cell is unlearned yet, or the points on the way lack what the budget needs.
    """
    store = Store(folder)
    manifest = store.manifest()
    config = store.config()
    if not any(cell.state == "unlearned" and store.is_done(cell) for cell in study_cells(config)):
        raise UserError(f"{folder}: no unlearned cell is finished yet; see: polyunlearn study status {folder}")
    found = compare(config, store, budget)
    if found is None:
        raise UserError(
            f"{folder}: ranks and bits per byte were not measured on the way of unlearning (unlearning.measure is {config.unlearning.measure!r}, "
            f"scoring.held_out_stories {config.scoring.held_out_stories}); run the study into another folder with: "
            "--set unlearning.measure=budget --set scoring.held_out_stories=1"
        )
    print_comparison(found, console)
    model = manifest["study"]["model"]["name"]
    if json_file:
        write_comparison_json(found, config, model, json_file)
    if markdown_file:
        write_comparison_markdown(found, config, model, markdown_file)


def build_recoveries(folder: Path, console: Console, json_file: Path | None, markdown_file: Path | None) -> None:
    """Print what the attacks on a study brought back, and write it into its report and where files are given; raises `UserError` where nothing was
    attacked yet."""
    store = Store(folder)
    manifest = store.manifest()
    config = store.config()
    found, chosen = recoveries(config, store), hardest(config, store)
    print_recoveries(chosen, console)
    write_html(config, manifest, store, summarise(config, store), folder / "report.html")
    if json_file:
        write_recoveries_json(found, config, json_file)
    if markdown_file:
        write_recoveries_markdown(found, chosen, selectivities(config, store), config, markdown_file)
