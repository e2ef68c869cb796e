"""What attacks brought back: in the terminal, as Markdown and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.recovery import Recovery, hardest
from polyunlearn.analysis.tables import way_of_unlearning
from polyunlearn.attacks.suite import ATTACKS
from polyunlearn.files import write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.comparison import estimate_text, markdown_table
from polyunlearn.study.config import StudyConfig

_HARDEST = ("attack", "learned in", "unlearned with", "hardest variant", "asked in", "fake rank", "gold", "excess")
_ALL = ("attack", "variant", "strength", "learned in", "unlearned with", "asked in", "fake rank", "gold", "excess", "of what was taken")


def print_recoveries(found: Sequence[Recovery], console: Console) -> None:
    """Print the hardest variant and language of every attack; Markdown and JSON have them all."""
    table = Table(title="What attacks bring back, beyond gold", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in _HARDEST:
        table.add_column(name)
    for own in hardest(found):
        table.add_row(*(Text(part) for part in _hardest_texts(own)))
    console.print(table)
    console.print(
        "fake rank and gold: before → after the attack, first wording; excess: the rise beyond gold's, with its 95 % interval over stories",
        style="dim",
        highlight=False,
    )


def write_recoveries_markdown(found: Sequence[Recovery], config: StudyConfig, path: Path) -> None:
    """Write every attempt as Markdown, atomically."""
    used = dict.fromkeys(own.attempt.attack for own in found)
    text = "\n".join(
        [
            "# What attacks bring back",
            "",
            f"Study `{config.name}`, seeds {', '.join(map(str, config.seeds))}. Made by `polyunlearn attack`.",
            "",
            "The fake rank in the first wording, before and after the attack, of the unlearned state and of gold, which never met the claims. *Excess* is "
            "the unlearned state's rise beyond gold's, paired by story, with a 95 % interval that draws stories; *of what was taken*: as a share "
            "of what unlearning took from the learned state.",
            "",
            *(f"- **{name}** {ATTACKS[name].does} ({ATTACKS[name].paper}); its strength counts {ATTACKS[name].strength}." for name in used),
            "",
            "## The hardest variant of each attack",
            "",
            *markdown_table(_HARDEST, [_hardest_texts(own) for own in hardest(found)]),
            "",
            "## All",
            "",
            *markdown_table(_ALL, [_all_texts(own) for own in found]),
            "",
        ]
    )
    write_text_atomically(path, text)


def write_recoveries_json(found: Sequence[Recovery], config: StudyConfig, path: Path) -> None:
    """Write every attempt as JSON in full precision, atomically."""
    rows = [asdict(own) | {"recovered": own.recovered} for own in found]
    write_text_atomically(path, json.dumps({"schema": 1, "study": config.name, "rows": rows}, indent=1, ensure_ascii=False) + "\n")


def _hardest_texts(own: Recovery) -> list[str]:
    return [own.attempt.attack, _source(own), _way(own), _variant(own), *_ranks(own)]


def _all_texts(own: Recovery) -> list[str]:
    share = "–" if own.recovered is None else f"{own.recovered:.0%}"
    return [own.attempt.attack, own.attempt.variant, f"{own.attempt.strength:g}", _source(own), _way(own), *_ranks(own), share]


def _ranks(own: Recovery) -> list[str]:
    ranks = [f"{own.before:.2f} → {own.after:.2f}", f"{own.gold_before:.2f} → {own.gold_after:.2f}"]
    return [get_language(own.language).name, *ranks, estimate_text(own.excess)]


def _variant(own: Recovery) -> str:
    return f"{own.attempt.variant} ({own.attempt.strength:g} {ATTACKS[own.attempt.attack].strength})"


def _source(own: Recovery) -> str:
    return get_language(own.source).name


def _way(own: Recovery) -> str:
    return way_of_unlearning(own.strategy, own.method, several_methods=True)
