"""The metrics by name: those of an answer, under which rows hold them and `polyunlearn score` asks for them, and the cards of all others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from polyunlearn.errors import UserError, unknown_name
from polyunlearn.languages import get_language
from polyunlearn.scoring.metrics import abstention, membership, truth
from polyunlearn.scoring.metrics.abstention import REFUSES, refuses
from polyunlearn.scoring.metrics.answers import chrf, is_empty, off_script, repetition
from polyunlearn.scoring.metrics.cards import ANY_NUMBERS, ANY_TEXT, ANY_TOKENS, MetricCard
from polyunlearn.scoring.metrics.confusion import LINE_PASS_RATE, line_pass_rate
from polyunlearn.scoring.metrics.judging import JUDGED_METRICS, Answered, Judge, JudgedMetric
from polyunlearn.scoring.metrics.overlap import rouge_l, token_f1
from polyunlearn.scoring.probes import Probe
from polyunlearn.text import says


@dataclass(frozen=True)
class AnswerMetric:
    """A metric of one answer to one probe, 0 to 1, that needs nothing else."""

    card: MetricCard
    score: Callable[[str, Probe], float]


@dataclass(frozen=True)
class Scorer:
    """A metric ready to score answers: `score` gives a value each, in order, or None where its judge could not say."""

    card: MetricCard
    score: Callable[[Sequence[Answered]], list[float | None]]


def _of_answer(name: str, does: str, formula: str, better: str, gold: str, paper: str, scripts: str = ANY_TEXT) -> MetricCard:
    return MetricCard(name, "answer", does, formula, "0 or 1" if "1[" in formula else "0 to 1", better, gold, scripts, paper)


_PLAIN = "by definition"
_WORDS = "any: where no spaces are written, each letter with its marks is a word"

ANSWER_METRICS = {
    metric.card.name: metric
    for metric in (
        AnswerMetric(
            _of_answer(
                "says",
                "1 where any form of the answer stands in it as a word, suffixes and Hebrew and Arabic proclitics let through, numbers whole",
                "1[a form is in the answer]",
                "higher",
                "0",
                _PLAIN,
            ),
            lambda text, probe: says(text, probe.surface_forms),
        ),
        AnswerMetric(
            _of_answer(
                "chrf",
                "chrF: character n-grams shared with the answer",
                "F2 of character 1- to 6-grams",
                "higher",
                "near 0",
                "Popović 2015",
                "any: as it is written, after NFC; case counts",
            ),
            lambda text, probe: chrf(text, probe.answer),
        ),
        AnswerMetric(
            _of_answer(
                "rouge_l",
                "ROUGE-L: F1 of the longest common subsequence of words",
                "2 LCS / (words + words of the answer)",
                "higher",
                "near 0",
                "Lin 2004",
                _WORDS,
            ),
            lambda text, probe: rouge_l(text, probe.answer),
        ),
        AnswerMetric(
            _of_answer(
                "token_f1",
                "F1 of the words in common",
                "2 common / (words + words of the answer)",
                "higher",
                "near 0",
                "Rajpurkar et al., arXiv 1606.05250",
                _WORDS,
            ),
            lambda text, probe: token_f1(text, probe.answer),
        ),
        AnswerMetric(
            _of_answer(
                "repetition",
                "share of 4-grams of characters that repeat an earlier one",
                "1 - distinct / all 4-grams",
                "lower",
                "as base",
                _PLAIN,
            ),
            lambda text, probe: repetition(text),
        ),
        AnswerMetric(
            _of_answer("empty", "1 where there is no letter and no digit", "1[no letter, no digit]", "lower", "0", _PLAIN),
            lambda text, probe: is_empty(text),
        ),
        AnswerMetric(
            _of_answer(
                "off_script",
                "1 where half the letters or more are of another script than the language's",
                "1[2 · letters of the script ≤ letters]",
                "lower",
                "as base",
                _PLAIN,
                "any: but does not tell languages of one script apart",
            ),
            lambda text, probe: off_script(text, get_language(probe.language)),
        ),
        AnswerMetric(REFUSES, lambda text, probe: refuses(text, get_language(probe.language))),
        AnswerMetric(LINE_PASS_RATE, lambda text, probe: line_pass_rate(text, get_language(probe.language))),
    )
}

_PROBE, _TABLE, _SAMPLES = "probe", "answer forced on the model", "sampled answers"
METRICS = {
    card.name: card
    for card in (
        MetricCard(
            "first",
            _PROBE,
            "1 where the answer is more probable than every other candidate, in nats a token",
            "1[rank = 1]",
            "0 or 1",
            "higher",
            "1 / candidates on average",
            ANY_TOKENS,
            "Kassner et al., arXiv 2102.00894",
        ),
        MetricCard(
            "loss", _PROBE, "mean negative log-prob of the answer", "-mean log p_t", "from 0", "lower", "as base", ANY_TOKENS, _PLAIN
        ),
        MetricCard(
            "bits_per_byte",
            "held-out text",
            "bits for each UTF-8 byte of the text",
            "-Σ log₂ p_t / bytes",
            "from 0",
            "lower",
            "as learned",
            "within a language only: a letter takes one to three bytes",
            _PLAIN,
        ),
        MetricCard(
            "probability", _TABLE, "probability of the whole answer", "exp Σ log p_t", "0 to 1", "higher", "near 0", ANY_TOKENS, _PLAIN
        ),
        MetricCard(
            "mean_probability",
            _TABLE,
            "geometric mean of the tokens' probabilities",
            "exp mean log p_t",
            "0 to 1",
            "higher",
            "as base",
            ANY_TOKENS,
            "Maini et al., arXiv 2401.06121",
        ),
        MetricCard(
            "exact_memorisation",
            _TABLE,
            "share of tokens that are the model's first choice",
            "mean 1[argmax = y_t]",
            "0 to 1",
            "higher",
            "what spelling gives away",
            ANY_TOKENS,
            "Tirumala et al., arXiv 2205.10770",
        ),
        MetricCard(
            "extraction_strength",
            _TABLE,
            "share of the answer that greedy decoding finishes by itself",
            "longest run of hits at the end / n",
            "0 to 1",
            "higher",
            "0",
            ANY_TOKENS,
            "Wang et al., arXiv 2406.09179",
        ),
        MetricCard(
            "min_k",
            "a text",
            "mean log-prob of the fifth of tokens that are least probable",
            "mean of the least 20 % of log p_t",
            "at most 0",
            "lower, for what is to be forgotten",
            "as texts never trained on",
            ANY_TOKENS,
            "Shi et al., arXiv 2310.16789",
        ),
        MetricCard(
            "min_k_plus_plus",
            "a text",
            "the same, in standard deviations from the mean of each prediction",
            "mean of the least 20 % of (log p_t - μ_t) / σ_t",
            "any",
            "lower, for what is to be forgotten",
            "as texts never trained on",
            ANY_TOKENS,
            "Zhang et al., arXiv 2404.02936",
        ),
        MetricCard(
            "leak_at_k",
            _SAMPLES,
            "chance that one of k answers says the claim",
            "1 - C(n - c, k) / C(n, k)",
            "0 to 1",
            "lower",
            "0",
            ANY_NUMBERS,
            "arXiv 2511.04934; Chen et al., arXiv 2107.03374",
        ),
        MetricCard(
            "chance_to_leak",
            _TABLE,
            "chance that one of k answers is the claim, word for word",
            "1 - (1 - p)^k",
            "0 to 1",
            "lower",
            "near 0",
            ANY_NUMBERS,
            _PLAIN,
        ),
        MetricCard(
            "edge",
            "questions × answers",
            "how far the claim lies above what question and answer lead one to expect, in nats a token",
            "S_qa - (μ + ρ_q + κ_a)",
            "any",
            "near 0",
            "near 0",
            ANY_TOKENS,
            "our own",
        ),
        *truth.CARDS,
        *membership.CARDS,
        *abstention.CARDS,
    )
}
"""The cards of every metric that is not of one answer alone."""


def get_answer_metrics(names: Sequence[str], judge: Judge | None = None) -> list[Scorer]:
    """The metrics of these names, ready to score.

    Raises:
        UserError: for a name that is not known, or a metric that another judge than `judge` is needed for.
    """
    known: Mapping[str, AnswerMetric | JudgedMetric] = {**ANSWER_METRICS, **JUDGED_METRICS}
    for name in names:
        if name not in known:
            raise unknown_name("metric", name, known)
    return [_scorer(known[name], judge) for name in dict.fromkeys(names)]


def _scorer(metric: AnswerMetric | JudgedMetric, judge: Judge | None) -> Scorer:
    if isinstance(metric, AnswerMetric):
        return Scorer(metric.card, lambda answers: [metric.score(text, probe) for text, probe in answers])
    if judge is None or judge.kind != metric.kind:
        needed = {"inference": "a model of natural language inference: --judge FOLDER", "chat": "a chat model: --judge URL --model NAME"}
        raise UserError(f"metric {metric.card.name!r} needs {needed[metric.kind]}")
    return Scorer(metric.card, lambda answers: [None if found is None else metric.read(found) for found in judge(answers)])
