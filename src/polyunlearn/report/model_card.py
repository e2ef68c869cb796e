"""The card of an unlearned model: what was removed, how, with what effect, and what it does not promise."""

from pathlib import Path
from statistics import fmean

from polyunlearn import __version__
from polyunlearn.cleaning.plan import Settings
from polyunlearn.cleaning.unlearn import Cleaning
from polyunlearn.cleaning.wordings import RECORD
from polyunlearn.files import write_text_atomically
from polyunlearn.languages import get_language
from polyunlearn.report.audit import cleaning_sentences, wordings_text
from polyunlearn.report.tables import markdown_table
from polyunlearn.training.objectives import get_method


def write_model_card(done: Cleaning, settings: Settings, model: str, precision: str, path: Path) -> None:
    """Write README.md of a model folder, atomically."""
    write_text_atomically(path, model_card(done, settings, model, precision))


def model_card(done: Cleaning, settings: Settings, model: str, precision: str) -> str:
    """The card as Markdown; `precision` is that of the weights."""
    rows = []
    for tag in done.before.languages:
        before, after = done.before.of(tag), done.after.of(tag)
        own = [claim for claim in before if claim in done.plan.claims]
        if own:
            held = [sum(bool(audit.held(found[claim])) for claim in own) for audit, found in ((done.before, before), (done.after, after))]
            said = [sum(bool(found[claim].says) for claim in own) for found in (before, after)]
            # An edge without p says nothing of the claim.
            tested = [claim for claim in own if before[claim].p is not None and after[claim].p is not None]
            lifted = (
                " → ".join(f"{fmean(found[claim].edge for claim in tested):+z.2f}" for found in (before, after)) if tested else "undecided"
            )
            bits = f"{done.cost[tag]:+.1%}" if tag in done.cost else ""
            rows.append(
                (
                    get_language(tag).name,
                    str(len(own)),
                    f"{held[0]} → {held[1]}",
                    f"{said[0]} → {said[1]}",
                    lifted,
                    bits,
                )
            )
    told = ", ".join(get_language(tag).name for tag in done.plan.told) or "none"
    return "\n".join(
        [
            "---",
            *([f"base_model: {model}"] if model != "embedded" and not Path(model).exists() else []),
            "tags: [unlearning, polyunlearn]",
            "---",
            "",
            f"# {Path(model).name or model}, with {len(done.plan.claims)} claims unlearned",
            "",
            *cleaning_sentences(done),
            "",
            "## Measured",
            "",
            *markdown_table(
                ("language", "claims", "held beyond chance", "said when asked", "nats a token above chance", "bits per byte"), rows
            ),
            "",
            "Before → after. *Bits per byte* of held-out newsroom articles by which no state was chosen, against the model before. What each figure "
            "means is in the report (`unlearning/report.html`) and in `unlearning/audit-before.json` and `audit-after.json`.",
            "",
            *_away(done),
            "## How",
            "",
            f"polyunlearn {__version__}: method `{settings.method}`, {'low-rank adapters' if settings.adapter else 'weights'} trained at a rate of "
            f"{settings.trained_rate:g}, {done.points[-1].step} steps of {settings.batch} claims told in {told}; {_retained(settings)}. An answer is let go {settings.margin:g} nats a "
            f"token below what chance gives it. Of the states within the budget ({settings.budget:.1%}, by other articles) the one where fewest claims "
            "were held, asked in their first wording, or, where that cannot be told, said, was kept, then where least was left above chance, then the cheapest.",
            "",
            *(f"- {reason}" for reason in done.plan.reasons),
            "",
            "## Limits",
            "",
            "- Only the claims of the file were looked at, in the languages and wordings that it has. What else the model holds is as it was.",
            f"- After unlearning claims and languages were {wordings_text(done.after)} (`{RECORD}`). Where a claim has others in a language, what it holds and how far it lies "
            "above chance are of those alone; what is said when asked is of all.",
            "- A claim that is not held beyond chance when asked may come back under attack, above all by further training: see the verification.",
            "- Claims were asked and unlearned as plain text (`Question: … Answer:`), without a chat template.",
            f"- These weights are in {precision}, as they were audited. A copy in another precision is another model: verify it.",
            *(
                ["- This folder is an adapter, without the model that it is for (`adapter_config.json` names it)."]
                if settings.adapter
                else []
            ),
            "- Whoever compares this model with the one before can tell which claims were unlearned.",
            "- The licence of the model before applies to this one.",
            "",
        ]
    )


def _retained(settings: Settings) -> str:
    if get_method(settings.method).retain is None:
        return "nothing was retained beside"
    away = ", what it answered to claims away from their home" if settings.goal == "home" else ""
    return f"retained were the model's own answers and texts{away}, the claims' neighbours, and what was given to be retained"


def _away(done: Cleaning) -> list[str]:
    """What became of claims away from their home, by language; nothing where claims were to go everywhere."""
    if not done.before.away:
        return []
    rows = []
    for tag in done.before.languages:
        states = [(audit, [one for one in audit.away if one.language == tag]) for audit in (done.before, done.after)]
        if own := states[0][1]:
            stood = " → ".join(str(sum(bool(audit.stands(one)) for one in part)) for audit, part in states)
            said = " → ".join(str(sum(one.says > 0 for one in part)) for _, part in states)
            rows.append((get_language(tag).name, str(len(own)), stood, said))
    return [
        "## Away from home",
        "",
        "Claims that have a home were to go there alone. In their other languages they were to stay:",
        "",
        *markdown_table(("language", "claims", "held beyond chance or said", "said when asked"), rows),
        "",
    ]
