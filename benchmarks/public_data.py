"""What a model knows of public data: facts (BMLAMA-53), running text (FLORES-200) and TOFU in four languages, with intervals over facts and sentences.

python benchmarks/public_data.py ../shared/data --model embedded --markdown docs/results/public_data.md
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from polyunlearn.corpus.claims import Claim, languages_of
from polyunlearn.corpus.readers import bmlama, flores, tofu
from polyunlearn.files import write_text_atomically
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.report.tables import estimate_text, markdown_table
from polyunlearn.scoring.measure import Moment, rank_rows, ranked_questions, score_sequences
from polyunlearn.scoring.metrics.truth import truth_ratio_forget
from polyunlearn.scoring.probes import fact_probes
from polyunlearn.scoring.ranking import candidate_log_probs

TOFU_LANGUAGES = ("fr", "ru", "ar", "ja")


def fact_accuracy(loaded: LoadedModel, claims: Sequence[Claim], tag: str) -> tuple[Estimate, float]:
    """The share of facts whose answer ranks before all candidates, and what guessing gives."""
    probes = fact_probes(claims, tag)
    rows = rank_rows(loaded, loaded.head, probes, Moment(0, True))
    return estimate([row.value for row in rows if row.metric == "first"]), sum(1 / len(own.candidates) for own in probes) / len(probes)


def bits_per_byte(loaded: LoadedModel, tag: str, sentences: Sequence[str]) -> Estimate:
    """Bits per byte of each sentence by itself."""
    language = get_language(tag)
    sequences = [loaded.encoder.running(language, own) for own in sentences]
    scored = score_sequences(loaded, loaded.head, sequences)
    return estimate([-own.sum().item() / math.log(2) / len(text.encode()) for own, text in zip(scored, sentences, strict=True)])


def tofu_figures(loaded: LoadedModel, claims: Sequence[Claim], tag: str) -> tuple[Estimate, Estimate]:
    """The mean probability (a token) of answers, and TOFU's truth ratio for what is to be forgotten: against the paraphrase, as it is defined."""
    known = {own.id: own.editions[tag] for own in claims if tag in own.editions}
    # The paraphrase, a second form of the answer, behind it.
    probes = [
        replace(own, candidates=(own.answer, *known[own.story].surface_forms[1:2], *own.candidates[1:])) for own in fact_probes(claims, tag)
    ]
    scores = candidate_log_probs(loaded.body, loaded.head, ranked_questions(probes, loaded.encoder))
    return (
        estimate([math.exp(own[0].item()) for own in scores]),
        estimate([truth_ratio_forget(own[1].item(), own[2:].tolist()) for own in scores]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    loaded = load_model(arguments.model)
    facts = bmlama.read([str(arguments.data / "bmlama53" / "forget-64.jsonl")], {}).claims
    texts = flores.read([str(arguments.data / "flores200" / "forget-32.jsonl")], {}).by_language
    answers = {
        tag: tofu.read([f"{tag}={arguments.data / 'tofu_multilingual' / tag / 'forget01_perturbed.jsonl'}"], {}) for tag in TOFU_LANGUAGES
    }
    known = languages_of(facts)
    rows = []
    for tag in dict.fromkeys((*known, *texts, *TOFU_LANGUAGES)):
        row = [get_language(tag).name, "", "", "", "", ""]
        if tag in known:
            accuracy, chance = fact_accuracy(loaded, facts, tag)
            row[1:3] = [f"{estimate_text(accuracy)} of {accuracy.n}", f"{chance:.2f}"]
        if tag in texts:
            row[3] = estimate_text(bits_per_byte(loaded, tag, texts[tag]))
        if tag in answers:
            row[4:6] = map(estimate_text, tofu_figures(loaded, answers[tag].claims, tag))
        rows.append(row)
        print(" | ".join(row), flush=True)
    if arguments.markdown:
        lines = [
            "# Public data",
            "",
            f"`{loaded.name}`, made by `python benchmarks/public_data.py`. *Facts*: share of BMLAMA-53 facts (`forget-64`, asked as a sentence with a blank) whose answer ranks "
            "first among its candidates; *chance*: of guessing. *Bits per byte* of 32 FLORES-200 sentences. *TOFU* (`forget01`, which the model was never taught): mean probability "
            "a token of the answer, and the truth ratio, near 1 where a model prefers no name. Intervals (95 %) draw facts, sentences and questions.",
            "",
            *markdown_table(("language", "facts", "chance", "bits per byte", "TOFU probability", "TOFU truth ratio"), rows),
            "",
        ]
        write_text_atomically(arguments.markdown, "\n".join(lines))


if __name__ == "__main__":
    main()
