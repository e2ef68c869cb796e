"""Every metric's card, as the table of docs/metrics.md."""

from polyunlearn.scoring.metrics.cards import MetricCard
from polyunlearn.scoring.metrics.judging import JUDGED_METRICS
from polyunlearn.scoring.metrics.suite import ANSWER_METRICS, METRICS

CARDS: tuple[MetricCard, ...] = (
    *(metric.card for metric in ANSWER_METRICS.values()),
    *(metric.card for metric in JUDGED_METRICS.values()),
    *METRICS.values(),
)
"""Of all metrics, in the order of the document."""

INTRODUCTION = (
    "`polyunlearn score DIR --metric NAME` scores the stored answers of a study with any metric of an answer, without asking its models again; "
    "those by a judge take `--judge FOLDER`, a model of natural language inference (`entailment`), or `--judge URL --model NAME`, an "
    "OpenAI-compatible endpoint (the others), and keep what it found in the study's folder, in `judgements/`, under the model's name: where a server has since come "
    "to serve another model by that name, remove this. `line_pass_rate` needs the extra `langid`, which `make .venv/installed` installs.\n\n"
    "`polyunlearn study knowledge DIR` measures the states of a finished study by those that need their weights: answers forced on them, eight sampled "
    "answers to each claim at temperature 1, the claim beside the truth and beside other names, and membership inference, in which the stories' false "
    "articles, in every language, stand against those of as many stories that the study never read. Everything is asked in the first wording; `--cell ID` "
    "measures one state, with base and gold of its seed. What is measured is kept in the study's folder. A PrivLeak is against gold, a reference score "
    "against base.\n\n"
    "`first`, `loss`, `bits_per_byte` and the like stand in every study's rows. All metrics are functions in `polyunlearn.scoring.metrics`.\n\n"
    "Better is said of the answer to a real question, or, where claims alone are asked, of the claim; gold is what a model shows that never met the "
    "claim. p are probabilities, log-probs are in nats; 1[…] is 1 where that holds, else 0. A metric of text is tested on the same content in ten scripts."
)

HEADER = ("metric", "of", "what it says", "formula", "range", "better", "gold", "scripts", "source")


def metrics_markdown() -> str:
    """Every card as a Markdown document."""
    rows = [HEADER, ("---",) * len(HEADER), *map(_cells, CARDS)]
    return f"# Metrics\n\n{INTRODUCTION}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(card: MetricCard) -> tuple[str, ...]:
    formula = f"`{card.formula}`"
    cells = (f"`{card.name}`", card.of, card.does, formula, card.range, card.better, card.gold, card.scripts, card.paper)
    return tuple(cell.replace("|", "\\|") for cell in cells)
