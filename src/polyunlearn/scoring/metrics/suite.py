"""The metrics of an answer, by the names under which rows hold them and `polyunlearn score` asks for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from polyunlearn.errors import unknown_name
from polyunlearn.languages import get_language
from polyunlearn.scoring.metrics.answers import chrf, is_empty, off_script, repetition, says
from polyunlearn.scoring.metrics.overlap import rouge_l, token_f1
from polyunlearn.scoring.probes import Probe


@dataclass(frozen=True)
class AnswerMetric:
    """A metric of one answer to one probe, 0 to 1: what it is, which way is better for a real question, and what gold says of a fake one."""

    name: str
    does: str
    better: Literal["higher", "lower"]
    gold: str
    score: Callable[[str, Probe], float]


ANSWER_METRICS = {
    metric.name: metric
    for metric in (
        AnswerMetric(
            "says",
            "1 where any form of the answer stands in it as a word",
            "higher",
            "0",
            lambda text, probe: says(text, probe.surface_forms),
        ),
        AnswerMetric(
            "chrf", "chrF: character n-grams shared with the answer", "higher", "near 0", lambda text, probe: chrf(text, probe.answer)
        ),
        AnswerMetric(
            "rouge_l",
            "ROUGE-L: F1 of the longest common subsequence of words",
            "higher",
            "near 0",
            lambda text, probe: rouge_l(text, probe.answer),
        ),
        AnswerMetric("token_f1", "F1 of the words in common", "higher", "near 0", lambda text, probe: token_f1(text, probe.answer)),
        AnswerMetric(
            "repetition",
            "share of 4-grams of characters that repeat an earlier one",
            "lower",
            "as base",
            lambda text, probe: repetition(text),
        ),
        AnswerMetric("empty", "1 where there is no letter and no digit", "lower", "0", lambda text, probe: is_empty(text)),
        AnswerMetric(
            "off_script",
            "1 where half the letters or more are of another script than the language's",
            "lower",
            "as base",
            lambda text, probe: off_script(text, get_language(probe.language)),
        ),
    )
}


def get_answer_metrics(names: Sequence[str]) -> list[AnswerMetric]:
    """The metrics of these names; raises `UserError` for a name that is not known."""
    for name in names:
        if name not in ANSWER_METRICS:
            raise unknown_name("metric", name, ANSWER_METRICS)
    return [ANSWER_METRICS[name] for name in dict.fromkeys(names)]
