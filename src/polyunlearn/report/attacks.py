"""What attacks brought back: in the terminal, as Markdown and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.analysis.recovery import Attempt, CurvePoint, Hardest, Recovery, relearning_curves, relearning_matrix
from polyunlearn.analysis.selectivity import Probed, Selectivity, Way
from polyunlearn.analysis.tables import way_of_unlearning
from polyunlearn.attacks.suite import ATTACKS
from polyunlearn.files import write_json_atomically, write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.tables import estimate_text, markdown_table
from polyunlearn.study.config import StudyConfig

_HARDEST = ("attack", "learned in", "unlearned with", "hardest form", "mean excess", "most in", "fake rank", "gold", "excess", "lead")
_ALL = (
    "attack",
    "form",
    "strength",
    "learned in",
    "unlearned with",
    "asked in",
    "fake rank",
    "gold",
    "excess",
    "lead",
    "of what was taken",
)


_Found = TypeVar("_Found", Recovery, Hardest)


def print_recoveries(found: Sequence[Hardest], console: Console) -> None:
    """Print the hardest form of every attack; Markdown and JSON have them all."""
    table = Table(title="What attacks bring back, beyond gold", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in _HARDEST:
        table.add_column(name)
    for own in found:
        table.add_row(*(Text(part) for part in _hardest_texts(own)))
    console.print(table)
    console.print(
        "excess: the rise beyond gold's, in all query languages that the form asks in, and in one of them, with its 95 % interval; form and language are chosen on every second "
        "story, the figures are of the others; fake rank and gold: before → after the attack, first wording; lead: nats a token by which claims then lie "
        "above gold's log-prob of them",
        style="dim",
        highlight=False,
    )


def write_recoveries_markdown(
    found: Sequence[Recovery], chosen: Sequence[Hardest], probed: Mapping[Way, Sequence[Selectivity]], config: StudyConfig, path: Path
) -> None:
    """Write the hardest forms, what linear probes tell and every attempt as Markdown, atomically."""
    used = dict.fromkeys(own.attempt.attack for own in found)
    ways = dict.fromkeys((own.source, own.method, own.strategy) for own in found)
    matrices = [(way, relearning_matrix(_of_way(found, way))) for way in ways]
    text = "\n".join(
        [
            "# What attacks bring back",
            "",
            f"Study `{config.name}`, seeds {', '.join(map(str, config.seeds))}. Made by `polyunlearn attack`.",
            "",
            "The fake rank in the first wording, before and after the attack, of the unlearned state and of gold, which never met the claims. *Excess* is "
            "the unlearned state's rise beyond gold's, paired by story, with a 95 % interval that draws seeds and their stories; *of what was taken*: as a share "
            "of what unlearning took from the learned state. *Lead*: how far the claims lie above gold's log-prob of them after the attack, in nats a token; "
            "it sees what rank does not where an attack puts other names above all of them.",
            "",
            *(f"- **{name}** {ATTACKS[name].does} ({ATTACKS[name].paper}); its strength counts {ATTACKS[name].strength}." for name in used),
            "",
            "## The hardest form of each attack",
            "",
            "Chosen by its mean excess over the query languages on every second story, as is the language where it brings most back; the figures are of the "
            "other stories.",
            "",
            *markdown_table(_HARDEST, [_hardest_texts(own) for own in chosen]),
            "",
            *(line for way in ways for line in _by_language_lines(way, _of_way(found, way), _of_way(chosen, way), config.languages)),
            *_curve_lines({way: relearning_curves(_of_way(found, way)) for way in ways}),
            *(line for way, matrix in matrices if matrix for line in _matrix_lines(way, matrix)),
            *(line for way, own in probed.items() for line in _probed_lines(way, own)),
            "## All",
            "",
            *markdown_table(_ALL, [_all_texts(own) for own in found]),
            "",
        ]
    )
    write_text_atomically(path, text)


def _of_way(found: Sequence[_Found], way: Way) -> list[_Found]:
    return [own for own in found if (own.source, own.method, own.strategy) == way]


def _by_language_lines(way: Way, found: Sequence[Recovery], chosen: Sequence[Hardest], languages: Sequence[str]) -> list[str]:
    every = {(own.attempt, own.language): own for own in found}
    rows = []
    for form in chosen:
        own = [every.get((form.attempt, tag)) for tag in languages]
        asked = max(one.excess.n for one in own if one)
        rows.append([_attack_text(form), form_text(form.attempt), str(asked), *(estimate_text(one.excess if one else None) for one in own)])
    if not rows:
        return []
    return [
        f"## By language: {_way_text(way)}",
        "",
        "The excess of the same forms in every query language, with a 95 % interval over all claims asked (*n*); chosen on half of these, so a little too large.",
        "",
        *markdown_table(["attack", "form", "n", *(get_language(tag).name for tag in languages)], rows),
        "",
    ]


def _curve_lines(by_way: Mapping[Way, Mapping[str, Sequence[CurvePoint]]]) -> list[str]:
    curves = [(way, attack, points) for way, own in by_way.items() for attack, points in own.items()]
    if not curves:
        return []
    steps = sorted({point.step for _, _, points in curves for point in points if point.step})
    rows = []
    for way, attack, points in curves:
        at = {point.step: point for point in points}
        rows.append([_way_text(way), attack, *(_curve_text(at[step]) if step in at else "–" for step in steps)])
    return [
        "## Attacks that train, step by step",
        "",
        "The lead over gold in nats a token, with a 95 % interval that draws seeds and their stories; behind it the fake rank, the unlearned state's and gold's: means over the "
        "languages taught and asked.",
        "",
        *markdown_table(["unlearned with", "attack", *(f"{step:g}" for step in steps)], rows),
        "",
    ]


def _curve_text(point: CurvePoint) -> str:
    own = point.lead
    lead = f"{own.mean:+.1f} [{own.low:+.1f}, {own.high:+.1f}]" if own else "–"
    return f"{lead}; {point.unlearned:z.2f}, {point.gold:z.2f}"


def _matrix_lines(way: Way, matrix: Mapping[str, Mapping[str, Recovery]]) -> list[str]:
    asked = list(next(iter(matrix.values())))
    excess = [[get_language(told).name, *(f"{line[tag].excess.mean:+z.2f}" for tag in asked)] for told, line in matrix.items()]
    leads = [
        [get_language(told).name, *(f"{own.mean:+.1f}" if (own := line[tag].lead) else "–" for tag in asked)]
        for told, line in matrix.items()
    ]
    return [
        f"## Relearning across languages: {_way_text(way)}",
        "",
        "Half of the claims taught in the language of the line, the other half asked in that of the column: excess after the last step.",
        "",
        *markdown_table(["taught in", *asked], excess),
        "",
        "The same as the lead over gold, nats a token.",
        "",
        *markdown_table(["taught in", *asked], leads),
        "",
    ]


def _probed_lines(way: Way, found: Sequence[Selectivity]) -> list[str]:
    rows = [
        [
            str(own.layers),
            get_language(own.language).name,
            *(_probed_text(state) for state in (own.learned, own.gold, own.unlearned)),
            estimate_text(own.beyond),
        ]
        for own in found
    ]
    return [
        f"## Linear probes: {_way_text(way)}",
        "",
        "For what share of the asked claims a probe puts the claim's own name first, less the share for which its control does so with the drawn one; "
        "means over query languages. What the unlearned state has beyond gold (the last column, paired by story, with a 95 % interval) was learned and is there "
        "still; of so many layers the best has something by chance alone. Where the learned state has nothing beyond gold either, probes cannot tell.",
        "",
        *markdown_table(["layers passed", "fitted in", "learned", "gold", "unlearned", "beyond gold"], rows),
        "",
    ]


def _probed_text(own: Probed | None) -> str:
    return f"{own.accuracy:z.2f} − {own.control:z.2f} = {own.selectivity:+z.2f}" if own else "–"


def _way_text(way: Way) -> str:
    source, method, strategy = way
    return f"{get_language(source).name} claims, {way_of_unlearning(strategy, method, several_methods=True)}"


def write_recoveries_json(found: Sequence[Recovery], config: StudyConfig, path: Path) -> None:
    """Write every attempt as JSON in full precision, atomically."""
    rows = [
        asdict(own)
        | {"recovered": own.recovered, "story_leads": {f"{story} of seed {seed}": lead for (seed, story), lead in own.story_leads.items()}}
        for own in found
    ]
    write_json_atomically(path, {"schema": 1, "study": config.name, "rows": rows})


def form_text(attempt: Attempt) -> str:
    """What a form of an attack is called, with how strong it is."""
    return f"{attempt.variant} ({attempt.strength:g} {ATTACKS[attempt.attack].strength})"


def _attack_text(own: Hardest) -> str:
    card = ATTACKS[own.attempt.attack]
    return f"{card.name} (control)" if card.control_of else card.name


def _hardest_texts(own: Hardest) -> list[str]:
    way = way_of_unlearning(own.strategy, own.method, several_methods=True)
    return [
        _attack_text(own),
        get_language(own.source).name,
        way,
        form_text(own.attempt),
        f"{own.mean_excess:+z.2f}",
        *_ranks(own.by_language[own.worst]),
    ]


def _all_texts(own: Recovery) -> list[str]:
    share = "–" if own.recovered is None else f"{own.recovered:.0%}"
    way = way_of_unlearning(own.strategy, own.method, several_methods=True)
    return [own.attempt.attack, own.attempt.variant, f"{own.attempt.strength:g}", get_language(own.source).name, way, *_ranks(own), share]


def _ranks(own: Recovery) -> list[str]:
    ranks = [f"{own.before:z.2f} → {own.after:z.2f}", f"{own.gold_before:z.2f} → {own.gold_after:z.2f}"]
    return [get_language(own.language).name, *ranks, estimate_text(own.excess), estimate_text(own.lead) if own.lead else "–"]
