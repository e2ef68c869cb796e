"""Commands on studies."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from polyunlearn.cli.app import Folder, app, console, errors, refuse, study_app
from polyunlearn.cli.builder import OF_ENDPOINTS, KeyVariable, ModelName, Parameters, PerMinute, Timeout
from polyunlearn.cli.outputs import Json, Markdown, check_outputs
from polyunlearn.cli.watching import ProgressWatcher, Working

Preset = Annotated[
    str,
    typer.Argument(
        help="A preset (quickstart, strategies, methods-search, methods, layers, systems, barriers, paper) or the path of a YAML file."
    ),
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as --set unlearning.rate=1e-5; repeatable.")
]


Workers = Annotated[
    int, typer.Option(min=1, help="Processes that work beside each other, each with the model in memory: for a GPU, or many cores.")
]


@study_app.command("run")
def study_run(
    preset: Preset,
    out: Annotated[Path, typer.Option(help="The study's folder; an unfinished study there goes on.")],
    overrides: Overrides = [],  # noqa: B006 — Typer reads the default
    workers: Workers = 1,
) -> None:
    """Run a study, or go on with one; then write its report."""
    from polyunlearn.study.presets import load_config
    from polyunlearn.study.run import run_study

    config = load_config(preset, overrides)
    with ProgressWatcher() as watcher:
        run_study(config, out, watcher, workers)
    _report(out)


@study_app.command("plan")
def study_plan(
    preset: Preset,
    overrides: Overrides = [],  # noqa: B006 — Typer reads the default
    like: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A finished study whose spread says how many stories a claim takes.")
    ] = None,
) -> None:
    """Say what a study would run: cells, tokens, estimated time and memory, and how many stories a claim takes."""
    from polyunlearn.analysis.power import measured_spread
    from polyunlearn.report.plan import print_plan
    from polyunlearn.study.plan import plan_study
    from polyunlearn.study.presets import load_config
    from polyunlearn.study.store import Store

    config, spread = load_config(preset, overrides), measured_spread(Store(like)) if like else None
    print_plan(plan_study(config, lambda text: errors.print(text)), console, spread)


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
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="The folder of a study, or of several that share their learned states.")
    ],
    budget: Annotated[
        float, typer.Option(min=0, help="The relative loss of utility allowed in any language; inf for the end at any cost.")
    ] = 0.02,
    steps: Annotated[int | None, typer.Option(min=1, help="Count no state after more steps than this.")] = None,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Compare methods and strategies at the same allowed loss of utility; needs a study with unlearning.measure=budget."""
    from polyunlearn.report.build import build_comparison

    for folder in folders:
        check_outputs(json_file, markdown_file, study=folder)
    build_comparison(folders, budget, steps, console, json_file, markdown_file)


@study_app.command("matrices")
def study_matrices(
    folder: Folder,
    json_file: Json = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Also write the tables, with intervals, there.")
    ] = None,
) -> None:
    """Say from language to language what unlearning leaves, where it backfires, how alike languages answer, and what spread goes with."""
    from polyunlearn.report.matrices import build_matrices

    check_outputs(json_file, markdown_file, study=folder)
    build_matrices(folder, console, json_file, markdown_file)


@study_app.command("benchmark")
def study_benchmark(
    folder: Folder,
    task: Annotated[str, typer.Option(metavar="FILE_OR_NAME", help="A task of lm-evaluation-harness: a YAML file of your own, or a name.")],
    cells: Annotated[list[str], typer.Option("--cell", metavar="ID", help="Only this cell; repeatable.")] = [],  # noqa: B006 — as above
    json_file: Json = None,
) -> None:
    """Run a public benchmark on the states of a study, by lm-evaluation-harness."""
    from polyunlearn.report.benchmarks import print_benchmarks, write_benchmarks_json
    from polyunlearn.study.benchmarks import benchmark_study

    check_outputs(json_file, study=folder)
    with ProgressWatcher("nothing was kept of the states that were done but their weights") as watcher:
        scores = benchmark_study(folder, task, cells, watcher)
    print_benchmarks(scores, console)
    if json_file:
        write_benchmarks_json(scores, json_file)


@study_app.command("knowledge")
def study_knowledge(
    folder: Folder,
    cells: Annotated[
        list[str], typer.Option("--cell", metavar="ID", help="Only this cell, with base and gold of its seed; repeatable.")
    ] = [],  # noqa: B006 — as above
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Measure what states know beyond ranks: answers forced on them, sampled answers, the truth beside the claim, texts that they were trained on."""
    from polyunlearn.analysis.knowledge import knowledge_scores
    from polyunlearn.files import write_text_atomically
    from polyunlearn.report.scores import print_scores, scores_markdown, write_scores_json
    from polyunlearn.study.knowledge import measure_knowledge
    from polyunlearn.study.store import Store

    check_outputs(json_file, markdown_file, study=folder)
    with ProgressWatcher() as watcher:
        measure_knowledge(folder, cells, watcher)
    store = Store(folder)
    scores = knowledge_scores(store.config(), store)
    print_scores(scores, console)
    if json_file:
        write_scores_json(scores, json_file)
    if markdown_file:
        write_text_atomically(markdown_file, scores_markdown(scores))


@app.command("score")
def score(
    context: typer.Context,
    folder: Folder,
    metrics: Annotated[
        list[str], typer.Option("--metric", metavar="NAME", help="A metric of answers (docs/metrics.md), such as rouge_l; repeatable.")
    ],
    judge: Annotated[
        str, typer.Option(metavar="FOLDER_OR_URL", help="What judges answers: a model of inference (folder or name), or a chat endpoint.")
    ] = "",
    model: ModelName = "",
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the figures, with intervals, there.")] = None,
    key_variable: KeyVariable = "POLYUNLEARN_API_KEY",
    per_minute: PerMinute = None,
    timeout: Timeout = 120.0,
    parameters: Parameters = [],  # noqa: B006 — Typer reads the default
) -> None:
    """Score the stored answers of a study with any metric, without asking its models again; goes on where a judge was interrupted."""
    from polyunlearn.analysis.rescoring import rescore
    from polyunlearn.backends.chat import ChatClient
    from polyunlearn.backends.endpoint import Endpoint, read_parameters
    from polyunlearn.backends.nli import EntailmentModel
    from polyunlearn.report.scores import print_scores, write_scores_json
    from polyunlearn.scoring.metrics.judging import ChatJudge, InferenceJudge, Judge
    from polyunlearn.scoring.metrics.suite import get_answer_metrics
    from polyunlearn.study.store import Store

    check_outputs(json_file, study=folder)
    at_endpoint = judge.startswith(("http://", "https://"))
    if not at_endpoint:
        refuse(context, *OF_ENDPOINTS, beside="it is for a chat endpoint, and --judge gives no address of one")
    store = Store(folder)
    config, cache = store.config(), folder / "judgements"
    asked: Judge | None = None
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(Working("what was judged is kept, so the same command goes on from here"))
        if at_endpoint:
            where = Endpoint(judge, model, key_variable, timeout, per_minute=per_minute, parameters=read_parameters(parameters))
            asked = ChatJudge(stack.enter_context(ChatClient(where, cache)), work)
        elif judge:
            asked = InferenceJudge(EntailmentModel(judge, cache), work)
        scores = rescore(config, store, get_answer_metrics(metrics, asked))
    print_scores(scores, console)
    if json_file:
        write_scores_json(scores, json_file)


@app.command("compare")
def compare(
    a: Annotated[Path, typer.Argument(metavar="RUN_A", help="The folder of a study.")],
    b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The folder of another; the figures are B - A.")],
    json_file: Json = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Also write every comparison there.")] = None,
) -> None:
    """Set two studies against each other, cell by cell: differences with intervals, paired by story, adjusted for how many there are."""
    from polyunlearn.report.pairing import build_pairing

    for folder in (a, b):
        check_outputs(json_file, markdown_file, study=folder)
    build_pairing(a, b, console, json_file, markdown_file)


@app.command("methods")
def methods(
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write them there as JSON instead.")] = None,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write them there as Markdown instead.")] = None,
) -> None:
    """List the unlearning methods: formula, paper, settings, what each needs, costs and refuses."""
    from polyunlearn.report.methods import print_methods, write_methods_json, write_methods_markdown

    check_outputs(json_file, markdown_file)
    if json_file:
        write_methods_json(json_file)
    if markdown_file:
        write_methods_markdown(markdown_file)
    if not (json_file or markdown_file):
        print_methods(console)


@app.command("attack")
def attack(
    folder: Folder,
    attacks: Annotated[list[str], typer.Option("--attack", metavar="NAME", help="Only this attack; repeatable.")] = [],  # noqa: B006 — as above
    strategies: Annotated[list[str], typer.Option("--strategy", metavar="NAME", help="Only states unlearned so; repeatable.")] = [],  # noqa: B006
    methods: Annotated[list[str], typer.Option("--method", metavar="NAME", help="Only states unlearned by it; repeatable.")] = [],  # noqa: B006
    workers: Workers = 1,
    json_file: Json = None,
    markdown_file: Markdown = None,
) -> None:
    """Attack the states of a finished study, gold beside them, and say what comes back; goes on where it stopped."""
    from polyunlearn.attacks.suite import get_attacks
    from polyunlearn.report.build import build_recoveries
    from polyunlearn.study.attack import attack_study

    check_outputs(json_file, markdown_file, study=folder)
    chosen = get_attacks(attacks)
    with ProgressWatcher() as watcher:
        attack_study(folder, chosen, strategies, methods, watcher, workers)
    build_recoveries(folder, console, json_file, markdown_file)


@app.command("bench")
def bench(
    model: Annotated[str, typer.Option(help="embedded, or a model's folder.")] = "embedded",
    case: Annotated[str, typer.Option(help="Only cases whose name holds this.")] = "",
    json_file: Json = None,
) -> None:
    """Time training, ranking and answering against the usual way, in turn, on the same examples and weights."""
    from polyunlearn.bench.run import run_bench
    from polyunlearn.report.bench import print_bench, write_bench

    check_outputs(json_file)
    figures = list(run_bench(model, case, lambda text: errors.print(text, highlight=False)))
    print_bench(figures, console)
    if json_file:
        write_bench(figures, json_file)


def _report(folder: Path) -> None:
    from polyunlearn.report.build import build_report

    path = build_report(folder, console)
    console.print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)
