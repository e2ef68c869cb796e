"""What unlearning cost running text, on more articles than the study held out: re-read with the states that it kept.

    polyunlearn study run methods --set keep_states=true --out runs/methods
    python benchmarks/held_out.py runs/methods --markdown FILE

A budget of 2 % of bits per byte is read off `scoring.held_out_stories` articles a language, which `methods` keeps at one, since each point on the way
takes the whole vocabulary. One article says little of others. Here the end of every cell whose weights are there reads `--articles` newsroom stories that
no stage of the study has read, in all languages of the study, and what is left of the claims at the end stands beside.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from polyunlearn.analysis.budget import budget_paths
from polyunlearn.analysis.clusters import drawn_weights, percentiles
from polyunlearn.analysis.comparison import comparison
from polyunlearn.analysis.summary import KNOWN, Values
from polyunlearn.files import write_text_atomically
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.languages import get_language
from polyunlearn.models.trainable import load_state, restore
from polyunlearn.report.comparison import cost_texts, worst_language_text
from polyunlearn.report.tables import markdown_table
from polyunlearn.scoring.measure import Moment, text_rows
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.materials import unread_stories
from polyunlearn.study.processes import Silent
from polyunlearn.study.states import States
from polyunlearn.study.store import Store

Bits = Mapping[str, Sequence[float]]
"""By language, bits per byte of each article."""


def rise(before: Mapping[int, Sequence[float]], after: Mapping[int, Sequence[float]]) -> Estimate:
    """The rise of bits per byte over all articles, relative to before; both by seed, an article a value. The interval draws seeds, then their articles."""
    seeds = [seed for seed, values in before.items() for _ in values]
    then, now = (np.array([value for seed in before for value in own[seed]]) for own in (before, after))
    weights = drawn_weights(seeds, np.random.default_rng(0))
    return Estimate(float(now.sum() / then.sum() - 1), *percentiles(weights @ now / (weights @ then) - 1), len(seeds))


def read_again(folder: Path, articles: int) -> dict[str, Bits]:
    """By cell, what each kept learned and unlearned state makes of the articles."""
    store = Store(folder)
    config = store.config()
    states = States.load(config, store, Silent())
    stories = {seed: unread_stories(config, seed, articles) for seed in config.seeds}
    found: dict[str, Bits] = {}
    for cell in study_cells(config):
        path = store.weights_path(cell)
        if cell.state in ("learned", "unlearned") and store.is_done(cell) and path.is_file():
            restore(states.parameters, load_state(path))
            states.unlearning.body.start_afresh()
            rows = text_rows(states.unlearning, stories[cell.seed], config.languages, Moment(0, True))
            found[cell.id] = {tag: [row.value for row in rows if row.language == tag] for tag in config.languages}
            print(cell.id, flush=True)
    return found


def quality_lost(values: Values, cells: Sequence[Cell], languages: Sequence[str]) -> dict[str, Estimate]:
    """What the ends of cells, one a seed, lost of the share of real questions whose answer ranks first, relative to their learned states; by language that
    all of these knew. The interval draws seeds, then stories."""
    found = {}
    for tag in languages:
        before, after = {}, {}
        for cell in cells:
            assert cell.parent
            then, now = (values.after(own, tag, "real", "first", values.steps(own)[-1]) for own in (cell.parent, cell))
            if now and estimate(list(then.values())).low > KNOWN:
                before[cell.seed], after[cell.seed] = list(then.values()), [now[story] for story in then]
        if len(before) == len(cells):
            change = rise(before, after)
            found[tag] = Estimate(-change.mean, -change.high, -change.low, change.n)
    return found


def lines_of(folder: Path, articles: int) -> list[str]:
    """The table, as Markdown."""
    store = Store(folder)
    config, values, bits = store.config(), Values(store), read_again(folder, articles)
    # With no limit every cell is taken at its end.
    ends = {(row.source, row.strategy, row.method): row for row in comparison(budget_paths(config, store), float("inf")).rows}
    ways: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in study_cells(config):
        if cell.parent and cell.id in bits and cell.parent.id in bits:
            ways.setdefault((str(cell.source), str(cell.strategy), str(cell.method)), []).append(cell)
    rows = []
    for way, cells in ways.items():
        parents = {cell: cell.parent.id for cell in cells if cell.parent}
        rises = {
            tag: rise({cell.seed: bits[parents[cell]][tag] for cell in cells}, {cell.seed: bits[cell.id][tag] for cell in cells})
            for tag in config.languages
        }
        worst = max(rises, key=lambda tag: rises[tag].mean)
        single = max(now / then - 1 for cell in cells for now, then in zip(bits[cell.id][worst], bits[parents[cell]][worst], strict=True))
        losses = quality_lost(values, cells, config.languages)
        dearest = max(losses, key=lambda tag: losses[tag].mean, default=None)
        end = ends.get(way)
        left, quality = (worst_language_text(end), cost_texts(end.cost, 0, 0)[0]) if end else ("–", "–")
        rows.append(
            [
                get_language(way[0]).name,
                f"{way[1]}, {way[2]}",
                ", ".join(str(cell.seed) for cell in cells),
                left,
                share_text(rises[worst], worst),
                f"{single:+.0%}",
                quality,
                share_text(losses[dearest], dearest) if dearest else "–",
            ]
        )
    return [
        "# What unlearning cost running text, on more articles",
        "",
        f"Made by `python benchmarks/held_out.py` from the states that study `{config.name}` kept: the end of every cell on {articles} articles a language and "
        "seed that it never read. *Left*: what is left of the claims there, in the worst language. *Bits/byte*: the rise over all these articles in the language "
        "where it is largest, with a 95 % interval that draws seeds and articles. *One article*: the largest rise of a single one in that language. "
        "*Quality*: as in `polyunlearn study compare`. *Lost*: of quality, relative, in the worst of the languages that knew the real stories on all seeds, with an "
        "interval that draws seeds and stories.",
        "",
        *markdown_table(
            ("learned in", "unlearned with", "seeds", "left, worst language", "bits/byte, worst", "one article", "quality", "lost"), rows
        ),
        "",
    ]


def share_text(share: Estimate, tag: str) -> str:
    return f"{share.mean:+z.1%} [{share.low:+z.1%}, {share.high:+z.1%}] {tag}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="the folder of a study that measured budgets and kept its states")
    parser.add_argument("--articles", type=int, default=8, help="how many a seed and language")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    lines = lines_of(arguments.study, arguments.articles)
    print("\n".join(lines))
    if arguments.markdown:
        write_text_atomically(arguments.markdown, "\n".join(lines))


if __name__ == "__main__":
    main()
