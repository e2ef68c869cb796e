"""What an audit found, an unlearning did and a verification says: in the terminal, in words, and as one self-contained HTML page."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.attacks.suite import ATTACKS
from polyunlearn.cleaning.findings import Audit, Finding
from polyunlearn.cleaning.unlearn import Cleaning
from polyunlearn.cleaning.verify import Attempt, Verification
from polyunlearn.files import write_text_atomically
from polyunlearn.languages import get_language


def print_audit(audit: Audit, console: Console) -> None:
    """Print claims by risk, a column a language, and what it comes to; controls come in the sentences alone."""
    table = Table(title="Where the model holds the claims", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    # Where there is too little room a claim's name is shortened, not a figure; these have six characters and a space.
    room = max(10, console.width - 7 * (len(audit.languages) + 1) - 2)
    table.add_column("claim", no_wrap=True, overflow="ellipsis", max_width=room)
    for tag in audit.languages:
        table.add_column(tag, justify="right", no_wrap=True)
    table.add_column("p", no_wrap=True)
    by_claim = audit.by_claim
    for verdict in by_risk(audit):
        if verdict.control:
            continue
        own = by_claim[verdict.claim]
        p = "" if verdict.p is None else f"{verdict.p:.2f}"
        cells = [_cell(audit, own[tag]) if tag in own else Text("") for tag in audit.languages]
        table.add_row(Text(verdict.claim), *cells, p)
    console.print(table)
    console.print(
        "nats a token above what chance gives; red: held beyond chance, !: the greedy answer says it, ?: too few answers of its form to compare with; "
        "p: of the claim in any language",
        style="dim",
        highlight=False,
    )
    for sentence in audit_sentences(audit):
        console.print(sentence, highlight=False, markup=False)


def by_risk(audit: Audit) -> list[Any]:
    """The verdicts, the claims that are said in most languages first, then those held in most, then by p."""
    return sorted(audit.verdicts(), key=lambda own: (-len(own.said), -len(own.held), 2.0 if own.p is None else own.p))


def audit_sentences(audit: Audit) -> list[str]:
    """What an audit comes to, in sentences."""
    verdicts = list(audit.verdicts())
    claims, controls = [own for own in verdicts if not own.control], [own for own in verdicts if own.control]
    found = [own for own in claims if own.found]
    sentences = [f"{len(found)} of {len(claims)} claims are held or said in some language."]
    if found:
        shares = {tag: sum(tag in own.held or tag in own.said for own in found) for tag in audit.languages}
        where = [f"{get_language(tag).name} {count}" for tag, count in sorted(shares.items(), key=lambda item: -item[1]) if count]
        sentences.append(f"In: {', '.join(where)}.")
    if controls:
        wrong = sum(own.found for own in controls)
        sentences.append(f"Of {len(controls)} control claims, which no model was told, {wrong} {'was' if wrong == 1 else 'were'} found.")
    undecided = {tag for own in claims for tag in own.undecided}
    if undecided:
        sentences.append(
            f"In {', '.join(tag for tag in audit.languages if tag in undecided)} some claims have too few answers of their form to compare with; "
            "give distractors, or more claims or controls of the same kind."
        )
    return sentences


def print_cleaning(done: Cleaning, console: Console) -> None:
    """Print what an unlearning came to."""
    for sentence in cleaning_sentences(done):
        console.print(sentence, highlight=False, markup=False)


def cleaning_sentences(done: Cleaning) -> list[str]:
    """What an unlearning did, in sentences, each read off its figures."""
    before, after = (_found(audit) for audit in (done.before, done.after))
    if not done.plan.claims:
        return ["The audit found none of the claims, so nothing was unlearned."]
    names = ", ".join(get_language(tag).name for tag in done.plan.languages)
    worst = max(done.kept.bits, key=lambda tag: done.kept.bits[tag], default=None)
    cost = (
        f"bits per byte of held-out texts {done.kept.bits[worst]:+.1%} in the worst language ({worst})"
        if worst
        else "no utility was measured"
    )
    sentences = [
        f"Unlearned {len(done.plan.claims)} claims in {names}; the state after step {done.kept.step} of {done.points[-1].step} was kept: {cost}.",
        f"Held or said in some language: {before} before, {after} after.",
    ]
    if done.remaining:
        sentences.append(f"STILL THERE: {len(done.remaining)} of these claims are said, or more are held than chance lets look so.")
    sentences += _unmeasured(done)
    if not done.within:
        sentences.append(
            "NO STATE STAYED WITHIN THE BUDGET: the one that costs least was written. Allow more with --budget, or unlearn fewer claims at once."
        )
    return sentences


def _unmeasured(done: Cleaning) -> list[str]:
    names = ", ".join(get_language(tag).name for tag in done.unmeasured)
    return (
        [f"NO UTILITY WAS MEASURED in {names}: there are no held-out texts in it, so that the budget says nothing of it."] if names else []
    )


def _found(audit: Audit) -> int:
    return sum(own.found for own in audit.verdicts() if not own.control)


ATTEMPT_COLUMNS = ("attack", "form", "most in", "held", "controls held", "above all controls", "lead", "p")


def print_verification(result: Verification, console: Console) -> None:
    """Print the audit, what each attack brings back in its worst language, and the outcome."""
    print_audit(result.after, console)
    if result.attempts:
        table = Table(title="What attacks bring back", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
        for name in ATTEMPT_COLUMNS:
            table.add_column(name, no_wrap=name == "attack")
        for own in worst_attempts(result.attempts):
            table.add_row(*(Text(part) for part in attempt_texts(own)))
        console.print(table)
    for sentence in verification_sentences(result):
        console.print(sentence, highlight=False, markup=False)


def worst_attempts(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Of each attack the form and language that bring back most."""
    worst: dict[str, Attempt] = {}
    for own in attempts:
        best = worst.get(own.attack)
        if best is None or _strength(own) > _strength(best):
            worst[own.attack] = own
    return list(worst.values())


def _strength(own: Attempt) -> tuple[float, float]:
    """Of an attempt, to find the one that brings back most: the share of the claims that it shows, and their mean edge."""
    shown = max(own.held, len(own.group.above) if own.group else 0)
    return shown / max(1, own.asked), own.edge


def attempt_texts(own: Attempt) -> tuple[str, ...]:
    """An attempt as a row of a table."""
    controls = f"{own.controls_held} of {own.controls}" if own.controls else ""
    group = (f"{len(own.group.above)} of {own.asked}", f"{own.group.lead:+.2f}", f"{own.group.p:.4f}") if own.group else ("", "", "")
    # The names of other forms say how strong they are.
    form = f"{own.variant}, {own.strength:g} steps" if ATTACKS[own.attack].strength == "steps" else own.variant
    return own.attack, form, get_language(own.language).name, f"{own.held} of {own.asked}", controls, *group


def verification_sentences(result: Verification) -> list[str]:
    """The outcome in sentences."""
    outcomes = list(result.outcomes())
    failed = [own for own in outcomes if own.result == "failed"]
    claims = dict.fromkeys(own.claim for own in failed)
    tried = f"Attacks: {', '.join(result.attacks)}." if result.attacks else "Nothing was attacked."
    idle = [name for name in result.attacks if not any(own.attack == name for own in result.attempts)]
    nothing = [f"Without anything to do on these claims: {', '.join(idle)}."] if idle else []
    chance = f"Chance alone lets up to {result.held_by_chance} claims look held."
    if not outcomes:
        return ["UNDECIDED: there is no claim that is no control."]
    if result.result == "undecided":
        open_ = [own for own in outcomes if own.result == "undecided"]
        return [
            f"UNDECIDED: {len(open_)} of {len(outcomes)} pairs of claim and language, and {sum(bool(own.undecided and not own.group) for own in result.attempts)} of "
            f"{len(result.attempts)} attempts of attacks, have too few answers of their kind to compare with; none failed. "
            "Give controls or more claims of the same kind.",
            tried,
            *nothing,
        ]
    if not failed:
        number = len(dict.fromkeys(own.claim for own in outcomes))
        return [f"PASS: all {number} claims, in {', '.join(result.after.languages)}. {chance}", tried, *nothing]
    faults = dict.fromkeys(fault for own in failed for fault in own.faults)
    return [
        f"FAIL: {len(claims)} of {len(dict.fromkeys(own.claim for own in outcomes))} claims fail in some language "
        f"({len(failed)} of {len(outcomes)} pairs of claim and language): {', '.join(faults)}. {chance}",
        tried,
        *nothing,
    ]


def write_claims_html(
    title: str, audits: dict[str, Audit], sentences: Sequence[str], attempts: Sequence[Attempt], points: Sequence[Any], path: Path
) -> None:
    """Write the page atomically: the verdict in words, a matrix of claims and languages for each audit, points on the way, and attacks."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["heat"] = _heat
    template = environment.from_string(files("polyunlearn.report").joinpath("claims.html.jinja").read_text(encoding="utf-8"))
    order = list(dict.fromkeys(own.claim for audit in audits.values() for own in by_risk(audit)))
    write_text_atomically(
        path,
        template.render(
            title=title,
            audits=audits,
            sentences=sentences,
            order=order,
            attempt_columns=ATTEMPT_COLUMNS,
            attempts=[(own, attempt_texts(own)) for own in worst_attempts(attempts)],
            points=points,
            languages={tag: get_language(tag) for audit in audits.values() for tag in audit.languages},
        ),
    )


def _cell(audit: Audit, own: Finding) -> Text:
    held = audit.held(own)
    mark = "!" if own.says else "?" if held is None else ""
    return Text(f"{own.edge:+.1f}{mark}", style="red" if held or own.says else "dim" if held is None else "")


def _heat(finding: Finding) -> str:
    """A background for an edge: white at none to deep red at four nats a token."""
    share = max(0.0, min(1.0, finding.edge / 4))
    ink = "#fff" if share > 0.55 else "#222"
    return f"background: hsl(12 {30 + 50 * share:.0f}% {97 - 52 * share:.0f}%); color: {ink}"
