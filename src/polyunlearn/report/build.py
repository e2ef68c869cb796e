"""Writing everything a person reads of a study: the terminal tables, report.html, rows.csv, summary.json; and its comparison of methods."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from polyunlearn.analysis.budget import budget_paths
from polyunlearn.analysis.comparison import comparison, paths_together
from polyunlearn.analysis.recovery import hardest, recoveries
from polyunlearn.analysis.selectivity import selectivities
from polyunlearn.analysis.summary import summarise
from polyunlearn.errors import UserError
from polyunlearn.report.attacks import print_recoveries, write_recoveries_json, write_recoveries_markdown
from polyunlearn.report.comparison import print_comparison, write_comparison_json, write_comparison_markdown
from polyunlearn.report.export import write_rows_csv, write_summary
from polyunlearn.report.html import write_html
from polyunlearn.report.layers import Traced, write_traced_html, write_traced_json
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


def build_comparison(
    folders: Sequence[Path], budget: float, steps: int | None, console: Console, json_file: Path | None, markdown_file: Path | None
) -> None:
    """Compare the methods of a study, or of several that share their learned states, at a utility budget and within so many steps; print it, and write
    it where files are given.

    Raises:
        UserError: where no cell is unlearned yet, the points on the way lack what the budget needs, or the studies do not go together.
    """
    stores = [Store(folder) for folder in folders]
    for store in stores:
        config = store.config()
        if not any(cell.state == "unlearned" and store.is_done(cell) for cell in study_cells(config)):
            raise UserError(f"{store.folder}: no unlearned cell is finished yet; see: polyunlearn study status {store.folder}")
        if not budget_paths(config, store):
            raise UserError(
                f"{store.folder}: ranks and bits per byte were not measured on the way of unlearning (unlearning.measure is "
                f"{config.unlearning.measure!r}, scoring.held_out_stories {config.scoring.held_out_stories}); run the study into another folder with: "
                "--set unlearning.measure=budget --set scoring.held_out_stories=1"
            )
    found = comparison(paths_together(stores), budget, steps)
    print_comparison(found, console)
    configs, model = [store.config() for store in stores], stores[0].manifest()["study"]["model"]["name"]
    if json_file:
        write_comparison_json(found, configs, model, json_file)
    if markdown_file:
        write_comparison_markdown(found, configs, model, markdown_file)


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


def build_layer_pages(folder: Path, traced: Traced) -> Path:
    """Write of each learned state that was traced a page beside the report, with what was unlearned from it, and its figures; link them in the report, whose path
    is returned."""
    store = Store(folder)
    manifest, config = store.manifest(), store.config()
    for cell in study_cells(config):
        if cell.id in traced.located:
            page = store.layers_page(cell)
            names = {cell.id, *(own.id for own in study_cells(config) if own.parent == cell)}
            own = traced.of(names)
            write_traced_html(f"Where {cell.id} holds the claims", own, page)
            write_traced_json(own, page.with_suffix(".json"))
    path = folder / "report.html"
    write_html(config, manifest, store, summarise(config, store), path)
    return path
