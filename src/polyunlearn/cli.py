"""The command line: parse, call, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from polyunlearn import __version__
from polyunlearn.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find a false claim in a multilingual model, see where it spread, take it out, prove it.",
)
model_app = typer.Typer(no_args_is_help=True, help="The embedded model.")
corpus_app = typer.Typer(no_args_is_help=True, help="The built-in stories, and your own.")
study_app = typer.Typer(no_args_is_help=True, help="Studies: sources × strategies × methods × seeds.")
app.add_typer(model_app, name="model")
app.add_typer(corpus_app, name="corpus")
app.add_typer(study_app, name="study")

console = Console()
errors = Console(stderr=True)

Preset = Annotated[str, typer.Argument(help="A preset (quickstart, strategies, methods, paper) or the path of a YAML file.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as --set unlearning.rate=1e-5; repeatable.")
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a study.")]


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2."""
    try:
        app()
    except UserError as error:
        for line in str(error).splitlines():
            errors.print("[bold red]error:[/] ", end="")
            errors.print(line, markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@model_app.command("fetch")
def model_fetch() -> None:
    """Build the embedded model (Gemma 3 270M) in the cache, unless it is there; print its folder."""
    from polyunlearn.models.embedded import fetch_embedded

    folder = fetch_embedded(lambda text: errors.print(text))
    print(folder)


@corpus_app.command("show")
def corpus_show(
    story: Annotated[str, typer.Argument(help="A story's id, or its number from 0.")],
    lang: Annotated[str, typer.Option(help="The language to show it in.")] = "en",
    stories: Annotated[int, typer.Option(min=1, help="How many stories to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="The seed of the newsroom.")] = 0,
) -> None:
    """Show one story: both articles, the questions and what they reveal."""
    from polyunlearn.corpus.newsroom import generate_stories
    from polyunlearn.report.story import print_story

    count = max(stories, int(story) + 1) if story.isdigit() else stories
    drawn = generate_stories(count, seed, (lang,))
    found = [drawn[int(story)]] if story.isdigit() else [item for item in drawn if item.id == story]
    if not found:
        raise UserError(
            f"no story {story!r} among the {count} of seed {seed}; list their ids with: polyunlearn corpus export --stories {count}"
        )
    print_story(found[0], lang, console)


@corpus_app.command("export")
def corpus_export(
    stories: Annotated[int, typer.Option(min=1, help="How many stories to draw.")] = 100,
    seed: Annotated[int, typer.Option(help="The seed of the newsroom.")] = 0,
    format: Annotated[str, typer.Option(help="jsonl, the only one.")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="The file to write; standard output if not given.")] = None,
) -> None:
    """Write the built-in stories as JSON lines, in the schema of docs/corpus.md."""
    from polyunlearn.corpus.jsonl import write_stories
    from polyunlearn.corpus.lines import to_json_line
    from polyunlearn.corpus.newsroom import generate_stories

    if format != "jsonl":
        raise UserError(f"unknown format {format!r}; the only one is jsonl")
    drawn = generate_stories(stories, seed)
    if out:
        write_stories(drawn, out)
    else:
        for story in drawn:
            sys.stdout.write(to_json_line(story))


@corpus_app.command("check")
def corpus_check(file: Annotated[Path, typer.Argument(help="A corpus in JSONL.")]) -> None:
    """Check a corpus of your own; name every bad line."""
    from polyunlearn.corpus.jsonl import read_stories

    stories = read_stories(file)
    print(f"{file}: {len(stories)} stories in {', '.join(stories[0].editions)}; nothing to mend")


@study_app.command("run")
def study_run(
    preset: Preset,
    out: Annotated[Path, typer.Option(help="The study's folder; an unfinished study there goes on.")],
    overrides: Overrides = [],  # noqa: B006 — Typer reads the default
) -> None:
    """Run a study, or go on with one; then write its report."""
    from polyunlearn.study.presets import load_config
    from polyunlearn.study.run import run_study

    config = load_config(preset, overrides)
    try:
        with _ProgressWatcher() as watcher:
            run_study(config, out, watcher)
    except KeyboardInterrupt as interrupt:
        errors.print("interrupted; the same command goes on from here")
        raise typer.Exit(130) from interrupt
    _report(out)


@study_app.command("plan")
def study_plan(preset: Preset, overrides: Overrides = []) -> None:  # noqa: B006 — Typer reads the default
    """Say what a study would run: cells, tokens, estimated time and memory."""
    from polyunlearn.report.plan import print_plan
    from polyunlearn.study.plan import plan_study
    from polyunlearn.study.presets import load_config

    print_plan(plan_study(load_config(preset, overrides), lambda text: errors.print(text)), console)


@study_app.command("status")
def study_status(folder: Folder) -> None:
    """Say which cells of a study are done."""
    from polyunlearn.study.cells import study_cells
    from polyunlearn.study.store import Store

    store = Store(folder)
    config = store.config()
    cells = list(study_cells(config))
    done = [cell for cell in cells if store.is_done(cell)]
    for cell in cells:
        console.print(f"{'done' if cell in done else 'to do':6}{cell.id}", highlight=False)
    console.print(f"{len(done)} of {len(cells)} cells are done", highlight=False)


@study_app.command("report")
def study_report(folder: Folder) -> None:
    """Write the report of a study once more, from the rows on disk; an unfinished study reports what it has."""
    _report(folder)


@study_app.command("compare")
def study_compare(
    folder: Folder,
    budget: Annotated[float, typer.Option(min=0, max=1, help="The relative loss of utility allowed in any language.")] = 0.02,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures there.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the tables there.")] = None,
) -> None:
    """Compare methods and strategies at the same allowed loss of utility; needs a study with unlearning.measure=budget."""
    from polyunlearn.report.build import build_comparison

    build_comparison(folder, budget, console, json_file, markdown_file)


@app.command("score")
def score(
    folder: Folder,
    metrics: Annotated[list[str], typer.Option("--metric", metavar="NAME", help="A metric of answers, such as rouge_l; repeatable.")],
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures, with intervals, there.")] = None,
) -> None:
    """Score the stored answers of a study with any metric, without asking a model again."""
    from polyunlearn.analysis.rescoring import rescore
    from polyunlearn.report.scores import print_scores, write_scores_json
    from polyunlearn.scoring.metrics.suite import get_answer_metrics
    from polyunlearn.study.store import Store

    store = Store(folder)
    scores = rescore(store.config(), store, get_answer_metrics(metrics))
    print_scores(scores, console)
    if json_file:
        write_scores_json(scores, json_file)


@app.command("methods")
def methods(
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write them there as JSON instead.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write them there as Markdown instead.")] = None,
) -> None:
    """List the unlearning methods: formula, paper, settings, what each needs, costs and refuses."""
    from polyunlearn.report.methods import print_methods, write_methods_json, write_methods_markdown

    if json_file:
        write_methods_json(json_file)
    if markdown_file:
        write_methods_markdown(markdown_file)
    if not (json_file or markdown_file):
        print_methods(console)


@app.command("attack")
def attack(
    folder: Folder,
    only: Annotated[list[str], typer.Option("--only", metavar="ATTACK", help="Only this attack; repeatable.")] = [],  # noqa: B006 — as above
    strategies: Annotated[list[str], typer.Option("--strategy", metavar="NAME", help="Only states unlearned so; repeatable.")] = [],  # noqa: B006
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures there.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the tables there.")] = None,
) -> None:
    """Attack the states of a finished study, gold beside them, and say what comes back; goes on where it stopped."""
    from polyunlearn.attacks.suite import get_attacks
    from polyunlearn.report.build import build_recoveries
    from polyunlearn.study.attack import attack_study

    chosen = get_attacks(only)
    try:
        with _ProgressWatcher() as watcher:
            attack_study(folder, chosen, strategies, watcher)
    except KeyboardInterrupt as interrupt:
        errors.print("interrupted; the same command goes on from here")
        raise typer.Exit(130) from interrupt
    build_recoveries(folder, console, json_file, markdown_file)


@app.command("bench")
def bench(
    model: Annotated[str, typer.Option(help="embedded, or a model's folder.")] = "embedded",
    only: Annotated[str, typer.Option(help="Only cases whose name holds this.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures there.")] = None,
) -> None:
    """Time training, ranking and answering against the usual way, in turn, on the same examples and weights."""
    from polyunlearn.bench.run import run_bench
    from polyunlearn.report.bench import print_bench, write_bench

    figures = list(run_bench(model, only, lambda text: errors.print(text, highlight=False)))
    print_bench(figures, console)
    if json_file:
        write_bench(figures, json_file)


def _report(folder: Path) -> None:
    from polyunlearn.report.build import build_report

    path = build_report(folder, console)
    console.print(f"report: {path}", highlight=False, soft_wrap=True)


class _ProgressWatcher:
    """Shows a run as two progress bars: its cells, and the work of the one in hand."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=errors
        )
        self._cells: TaskID | None = None
        self._work: TaskID | None = None

    def __enter__(self) -> "_ProgressWatcher":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._cells is not None:
            self._progress.update(self._cells, completed=self._progress.tasks[0].total if kind is None else None)
            self._progress.stop()

    def cell(self, name: str, number: int, count: int) -> None:
        if self._cells is None:
            self._progress.start()
            self._cells = self._progress.add_task("cells", total=count)
            self._work = self._progress.add_task("", total=1)
        self._progress.update(self._cells, completed=number - 1)
        self._name = name
        if not self._progress.console.is_terminal:
            errors.print(f"[{number}/{count}] {name}", highlight=False, markup=False)

    def work(self, what: str, done: int, total: int) -> None:
        assert self._work is not None
        self._progress.update(self._work, description=f"{self._name}: {what}", completed=done, total=total)

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)
