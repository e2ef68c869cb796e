"""What an audit found, an unlearning did and a verification says: in the terminal, in words, and as one self-contained HTML page."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyunlearn.attacks.suite import ATTACKS
from polyunlearn.cleaning.findings import ALLOWED, Audit, Finding, Staying
from polyunlearn.cleaning.unlearn import Cleaning
from polyunlearn.cleaning.verify import Attempt, Verification
from polyunlearn.files import write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.pages import write_page
from polyunlearn.report.tables import markdown_table, plain


def print_audit(audit: Audit, console: Console) -> None:
    """Print claims by risk, a column a language, and what it comes to; controls come in the sentences alone."""
    table = Table(title="Where the model holds the claims", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    # Where there is too little room a claim's name is shortened, not a figure; these have six characters and a space.
    room = max(10, console.width - 7 * (len(audit.languages) + 1) - 2)
    table.add_column("claim", no_wrap=True, overflow="ellipsis", max_width=room)
    for tag in audit.languages:
        table.add_column(tag, justify="right", no_wrap=True)
    table.add_column("p", no_wrap=True)
    for row in _audit_rows(audit):
        table.add_row(*row)
    console.print(table)
    console.print(_reading(audit, "red"), style="dim", highlight=False)
    for sentence in audit_sentences(audit):
        console.print(sentence, highlight=False, markup=False)


def _audit_rows(audit: Audit) -> Iterator[list[Text]]:
    by_claim, away = audit.by_claim, {(own.claim, own.language): own for own in audit.away}
    for verdict in by_risk(audit):
        if verdict.control:
            continue
        own = by_claim[verdict.claim]
        cells = [
            _cell(audit, own[tag]) if tag in own else _away_cell(away[verdict.claim, tag]) if (verdict.claim, tag) in away else Text("")
            for tag in audit.languages
        ]
        yield [Text(verdict.claim), *cells, Text("" if verdict.p is None else f"{verdict.p:z.2f}")]


def _reading(audit: Audit, held: str) -> str:
    """How the cells are read; `held` is how a figure is shown that is held beyond chance."""
    return (
        f"nats a token above what chance gives; {held}: held beyond chance, !: the greedy answer says it, ?: too few answers of its form to compare with; "
        "p: of the claim in any language" + ("; ~: away from its home, where it is to stay" if audit.away else "")
    )


def by_risk(audit: Audit) -> list[Any]:
    """The verdicts, the claims that are said in most languages first, then those held in most, then by p."""
    return sorted(audit.verdicts(), key=lambda own: (-len(own.said), -len(own.held), 2.0 if own.p is None else own.p))


SILENT = 0.2
"""The share of empty answers in a language from which they are spoken of."""


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
    if audit.away:
        states = [audit.stands(own) for own in audit.away]
        open_ = f" (of {states.count(None)} others nothing can be said)" if None in states else ""
        sentences.append(
            f"{len({own.claim for own in audit.away})} claims that have a home are judged there alone. In their other languages, where they are to stay, they "
            f"are held or said in {states.count(True)} of {len(states)} pairs of claim and language{open_}, {len(audit.standing)} of which are more than chance "
            "lets look so, and are what is to stay."
        )
    if audit.trained:
        sentences.append(f"{wordings_text(audit).capitalize()}. Where a claim has others, these alone say whether it is held.")
    together = audit.held_together
    if together:
        leads = {own.language: own.against.lead for own in audit.groups}
        shown = ", ".join(
            f"{get_language(tag).name} (by {leads[tag]:+.1f} nats a token, {len(names)} of them above the controls)"
            for tag, names in together.items()
        )
        sentences.append(f"All together lie above the controls, whatever shows in each alone: {shown}.")
    undecided = {tag for own in claims for tag in own.undecided}
    if undecided:
        sentences.append(
            f"In {', '.join(tag for tag in audit.languages if tag in undecided)} some claims have too few answers of their form to compare with; "
            "give more claims or controls of the same kind, of which it takes three at least, for four languages ten and for nine twenty (docs/claims.md), and distractors beside these."
        )
    silent = {tag: share for tag in audit.languages if (share := _silent(audit, tag)) >= SILENT}
    if silent:
        shown = ", ".join(f"{get_language(tag).name} {share:.0%}" for tag, share in silent.items())
        sentences.append(
            f"Answers are empty: {shown}. There the model ends, or begins a new line, before it says anything; what it would say behind is not read."
        )
    return [*sentences, *nothing_said_sentences(audit)]


def nothing_said_sentences(audit: Audit) -> list[str]:
    """Where nothing can be said of any claim: that it cannot; else nothing."""
    if not audit.nothing_said:
        return []
    return ["NOTHING CAN BE SAID of whether these claims are held: none is said aloud, and that is no proof."]


def _silent(audit: Audit, tag: str) -> float:
    answers = [answer for own in audit.of(tag).values() for answer in own.answers]
    return sum(not answer.strip() for answer in answers) / len(answers) if answers else 0.0


def wordings_text(audit: Audit) -> str:
    """In how many wordings claims were asked, in all languages together, and how many of these the model was trained on."""
    known = (
        "which of them the model was trained on is not recorded" if audit.trained is None else f"{audit.trained} of them also trained on"
    )
    return f"asked in {audit.wordings} wordings, {known}"


def only_trained_sentences(audit: Audit) -> list[str]:
    """Where claims were asked in no wording but those trained on: that this says nothing of others, and what to do; else nothing."""
    found = audit.only_trained
    if not found:
        return []
    where = ", ".join(f"{len(claims)} in {get_language(tag).name}" for tag, claims in found.items())
    return [
        f"ASKED ONLY IN WORDINGS THAT WERE TRAINED ON: claims, {where}. Whether they come back in other words is not known. Give each another "
        "wording there among its questions, and verify again."
    ]


def suppressed_sentences(audit: Audit) -> list[str]:
    """Where more claims' answers lie conspicuously below chance than chance gives: what that tells whom, and what to do; else nothing."""
    found = audit.suppressed
    if not found:
        return []
    claims = {claim for own in found.values() for claim in own}
    where = ", ".join(f"{get_language(tag).name} {len(own)}" for tag, own in found.items())
    return [
        f"CONSPICUOUSLY UNLIKELY: the answers of {len(claims)} claims lie further below chance than names that were never taught do ({where}). Whoever measures "
        "this can tell that these claims were unlearned. It fails nothing; unlearn with fewer --steps or a lower --rate to leave less of such a trace."
    ]


def staying_sentences(found: Staying, allowed: float) -> list[str]:
    """What became of claims away from their home, where they were to stay; nothing where none was there."""
    if not found.count:
        return []
    open_ = f"; of {len(found.undecided)} others nothing can be said" if found.undecided else ""
    sentence = f"{len(found.kept)} of {found.count} are held or said there still{open_}."
    if not found.fails(allowed):
        return [f"Away from home, where claims were to stay: {sentence}"]
    lost = Counter(tag for _, tag in found.lost)
    where = ", ".join(f"{get_language(tag).name} {count}" for tag, count in lost.most_common())
    return [
        f"LOST AWAY FROM HOME: of the pairs of claim and language in which claims were to stay, {sentence} More than {allowed:.0%} went: {where}."
    ]


def print_cleaning(done: Cleaning, console: Console) -> None:
    """Print what an unlearning came to."""
    for sentence in cleaning_sentences(done):
        console.print(sentence, highlight=False, markup=False)


def cleaning_sentences(done: Cleaning) -> list[str]:
    """What an unlearning did, in sentences, each read off its figures."""
    before, after = (len(audit.found) for audit in (done.before, done.after))
    left_out = len(set(done.before.found) - set(done.plan.claims))
    without = (
        [f"LEFT OUT: {left_out} of the {before} claims found, with no edition in the languages that were asked for."] if left_out else []
    )
    if not done.plan.claims:
        return [*(without or ["The audit found none of the claims."]), "Nothing was unlearned.", *nothing_said_sentences(done.before)]
    names = ", ".join(get_language(tag).name for tag in done.plan.told)
    worst = max(done.cost, key=lambda tag: done.cost[tag], default=None)
    cost = (
        f"bits per byte of held-out texts that it was not chosen by {done.cost[worst]:+.1%} in the worst language ({worst})"
        if worst
        else "no utility was measured"
    )
    sentences = [
        f"Unlearned {len(done.plan.claims)} claims in {names}; the state after step {done.kept.step} of {done.points[-1].step} was kept: {cost}.",
        f"Held or said in some language: {before} before, {after} after.",
        *without,
    ]
    if done.remaining:
        sentences.append(f"STILL THERE: {len(done.remaining)} of the claims found are said, or more are held than chance lets look so.")
    sentences += staying_sentences(done.staying, ALLOWED)
    sentences += [*only_trained_sentences(done.after), *suppressed_sentences(done.after)]
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


ATTEMPT_COLUMNS = ("attack", "form", "most in", "held", "controls held", "above controls", "lead", "p")
ATTEMPT_READING = (
    "above controls: claims that lie above all but 5 % of the controls; lead: the claims' mean over the controls', nats a token; p: the chance of such a "
    "lead in any form, for as many attacks and languages"
)


def print_verification(result: Verification, console: Console) -> None:
    """Print the audit, what each attack brings back in its worst language, and the outcome."""
    print_audit(result.after, console)
    if result.attempts:
        table = Table(title="What attacks bring back", title_justify="left", box=box.SIMPLE, padding=0)
        rows = attempt_rows(result)
        for name in ATTEMPT_COLUMNS:
            # Where there is too little room forms and languages give way: no figure, and no word of the headings.
            whole = name in ("attack", "lead", "p")
            table.add_column(name, no_wrap=whole, min_width=None if whole or name in ("form", "most in") else max(map(len, name.split())))
        for row in rows:
            table.add_row(*(Text(part) for part in row))
        console.print(table)
        console.print(ATTEMPT_READING, style="dim", highlight=False)
    for sentence in verification_sentences(result):
        console.print(sentence, highlight=False, markup=False)


def attempt_rows(result: Verification) -> list[tuple[str, ...]]:
    """Of each attack the form and language that bring back most, as rows of a table."""
    worst = {}
    for name in result.attacks:
        own = [one for one in result.attempts if one.attack == name and one.asked]
        if own:
            worst[name] = max(own, key=lambda one: _strength(result, one))
    return [_attempt_texts(result, own) for own in worst.values()]


def _strength(result: Verification, own: Attempt) -> tuple[float, ...]:
    """Of an attempt, to find the one that brings back most: the share of the claims that it brings back, how surely the claims lead the controls in it, the
    share that it makes the model hold, and their mean edge."""
    group = result.group_in(own)
    edge = -math.inf if own.edge is None else own.edge
    return len(result.brought_back(own)) / own.asked, -group.against.p if group else -1.0, own.held / own.asked, edge


def _attempt_texts(result: Verification, own: Attempt) -> tuple[str, ...]:
    controls = f"{own.controls_held} of {own.controls}" if own.controls else ""
    group = result.group_in(own)
    shown = ("", "", "")
    if group:
        against = group.against
        shown = f"{len(against.above)} of {against.asked}", f"{against.lead:+z.2f}", f"{result.adjusted(group):.3f}"
    # The names of other forms say how strong they are.
    form = f"{own.variant}, {own.strength:g} steps" if ATTACKS[own.attack].strength == "steps" else own.variant
    return own.attack, form, get_language(own.language).name, f"{own.held} of {own.asked}", controls, *shown


def verification_sentences(result: Verification) -> list[str]:
    """The outcome in sentences."""
    outcomes = list(result.outcomes())
    failed = [own for own in outcomes if own.result == "failed"]
    claims = dict.fromkeys(own.claim for own in failed)
    tried = f"Attacks: {', '.join(result.attacks)}." if result.attacks else "Nothing was attacked."
    idle = [name for name in result.attacks if not any(own.attack == name for own in result.attempts)]
    nothing = [f"Asked for none of these claims: {', '.join(idle)}."] if idle else []
    unasked = [f"{name} did not ask in {', '.join(languages)}." for name, languages in result.unasked.items()]
    limits = [
        *staying_sentences(result.staying, result.allowed),
        *only_trained_sentences(result.after),
        *suppressed_sentences(result.after),
    ]
    chance = f"Chance alone lets up to {result.held_by_chance} claims look held."
    if not outcomes and result.result == "undecided":
        return ["UNDECIDED: there is no claim that is no control."]
    if result.result == "undecided":
        return [
            f"UNDECIDED: {'; '.join(_undecided(result))}; none failed. Give controls or more claims of the same kind.",
            tried,
            *unasked,
            *limits,
        ]
    if not failed and result.result == "passed":
        number = len(dict.fromkeys(own.claim for own in outcomes))
        where = f"in {', '.join(result.after.languages)}, {wordings_text(result.after)}"
        return [f"PASS: all {number} claims, {where}. {chance}", tried, *nothing, *unasked, *limits]
    faults = dict.fromkeys(fault for own in failed for fault in own.faults)
    if not failed:
        # It fails by what went elsewhere, which the limits say.
        return [
            f"FAIL: no claim is left where it was to go, but too much is gone where claims were to stay. {chance}",
            tried,
            *nothing,
            *unasked,
            *limits,
        ]
    return [
        f"FAIL: {len(claims)} of {len(dict.fromkeys(own.claim for own in outcomes))} claims fail in some language "
        f"({len(failed)} of {len(outcomes)} pairs of claim and language): {', '.join(faults)}. {chance}",
        tried,
        *nothing,
        *unasked,
        *limits,
    ]


def _undecided(result: Verification) -> list[str]:
    """What nothing can be said of."""
    outcomes = list(result.outcomes())
    open_ = sum(own.result == "undecided" for own in outcomes)
    said = [f"{open_} of {len(outcomes)} pairs of claim and language have too few answers of their kind to compare with"] if open_ else []
    if result.staying.undecided:
        said.append(f"of {len(result.staying.undecided)} pairs in which claims were to stay it cannot be said whether they did")
    for name, languages in result.powerless.items():
        where = (
            f"could not have failed in {', '.join(get_language(tag).name for tag in languages)}"
            if languages
            else "asked for none of these claims"
        )
        said.append(f"{name} {where}")
    return said


def write_claims_html(
    title: str, audits: dict[str, Audit], sentences: Sequence[str], attempts: Sequence[Sequence[str]], points: Sequence[Any], path: Path
) -> None:
    """Write the page atomically: the verdict in words, a matrix of claims and languages for each audit, points on the way, and attacks."""
    order = list(dict.fromkeys(own.claim for audit in audits.values() for own in by_risk(audit)))
    away = {name: {(own.claim, own.language): own for own in audit.away} for name, audit in audits.items()}
    write_page(
        "claims.html.jinja",
        path,
        heat=_heat,
        title=title,
        audits=audits,
        away=away,
        sentences=sentences,
        order=order,
        attempt_columns=ATTEMPT_COLUMNS,
        attempt_reading=ATTEMPT_READING,
        attempts=attempts,
        points=points,
        languages={tag: get_language(tag) for audit in audits.values() for tag in audit.languages},
    )


def write_claims_markdown(title: str, audit: Audit, sentences: Sequence[str], attempts: Sequence[Sequence[str]], path: Path) -> None:
    """Write atomically what the terminal shows: the verdict in words, claims by risk in every language, and what attacks bring back."""
    rows = [[_markdown_cell(cell) for cell in row] for row in _audit_rows(audit)]
    lines = [f"# {plain(title)}", "", *(f"- {sentence}" for sentence in sentences), "", "## Where the model holds the claims", ""]
    lines += [*markdown_table(("claim", *audit.languages, "p"), rows), "", f"{_reading(audit, 'bold').capitalize()}."]
    if attempts:
        reading = f"{ATTEMPT_READING.capitalize()}."
        lines += ["", "## What attacks bring back", "", *markdown_table(ATTEMPT_COLUMNS, attempts), "", reading]
    write_text_atomically(path, "\n".join(lines) + "\n")


def _markdown_cell(cell: Text) -> str:
    return f"**{cell.plain}**" if cell.style == "red" else cell.plain


def _cell(audit: Audit, own: Finding) -> Text:
    held = audit.held(own)
    mark = "!" if own.says else "?" if held is None else ""
    return Text(f"{own.edge:+.1f}{mark}", style="red" if held or own.says else "dim" if held is None else "")


def _away_cell(own: Finding) -> Text:
    return Text(f"~{own.edge:+.1f}{'!' if own.says else ''}", style="dim")


def _heat(finding: Finding) -> str:
    """A background for an edge: white at none to deep red at four nats a token."""
    share = max(0.0, min(1.0, finding.edge / 4))
    ink = "#fff" if share > 0.55 else "#222"
    return f"background: hsl(12 {30 + 50 * share:.0f}% {97 - 52 * share:.0f}%); color: {ink}"
