"""Whether a model says that it does not know, and whether it does so where it should: "forgot", "refuses everything" and "surely wrong" told apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import yaml

from polyunlearn.languages import LANGUAGES, Language
from polyunlearn.scoring.metrics.cards import ANY_NUMBERS, MetricCard
from polyunlearn.scoring.metrics.overlap import words

BINS = 10
"""Of equal width, in which confidence is set beside accuracy."""


def refuses(answer: str, language: Language) -> float:
    """1 where the answer says, in the asked language, that it does not know or cannot answer, else 0.

    It holds the words of `Language.refusal` or of a phrase of refusals.yaml, one after another, whatever the punctuation, case and width. An answer may
    refuse and then say a name: read it beside `says`. A refusal in another language is none: it is a confusion of languages.
    """
    text = words(answer)
    return float(any(_holds(text, phrase) for phrase in _phrases(language.tag)))


@dataclass(frozen=True)
class Outcomes:
    """How many questions were answered rightly and wrongly, and how many abstained from that would have been answered rightly and wrongly.

    The metrics are those of Feng et al. (arXiv 2402.00367; in many languages: 2406.15948). They lie in [0, 1], effective reliability in
    [-1, 1]; higher is better. None where there is nothing to take a share of.
    """

    right: int
    wrong: int
    abstained_right: int
    abstained_wrong: int

    @property
    def reliable_accuracy(self) -> float | None:
        """Share of what was answered that is right: A / (A + C)."""
        return _share(self.right, self.right + self.wrong)

    @property
    def effective_reliability(self) -> float | None:
        """Right less wrong over all questions: (A - C) / N; -1 is all wrong, 0 also where all is abstained from."""
        return _share(self.right - self.wrong, self._all)

    @property
    def abstain_accuracy(self) -> float | None:
        """Share of questions that were rightly answered or rightly abstained from: (A + D) / N."""
        return _share(self.right + self.abstained_wrong, self._all)

    @property
    def abstain_precision(self) -> float | None:
        """Share of abstentions that avoid a wrong answer: D / (B + D)."""
        return _share(self.abstained_wrong, self.abstained_right + self.abstained_wrong)

    @property
    def abstain_recall(self) -> float | None:
        """Share of what would be wrong that is abstained from: D / (C + D)."""
        return _share(self.abstained_wrong, self.wrong + self.abstained_wrong)

    @property
    def abstain_f1(self) -> float | None:
        """Harmonic mean of precision and recall: 2 D / (B + C + 2 D); None where nothing was wrong and nothing abstained from."""
        return _share(2 * self.abstained_wrong, self.abstained_right + self.wrong + 2 * self.abstained_wrong)

    @property
    def _all(self) -> int:
        return self.right + self.wrong + self.abstained_right + self.abstained_wrong


def count_outcomes(answers: Iterable[tuple[bool, bool]]) -> Outcomes:
    """Outcomes from one pair a question: whether the model knows the answer (such as ranks it first), and whether it abstained."""
    own = list(answers)
    return Outcomes(own.count((True, False)), own.count((False, False)), own.count((True, True)), own.count((False, True)))


def calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    r"""Expected calibration error over ten bins of equal width (Guo et al., arXiv 1706.04599).

    .. math:: \sum_b \frac{|b|}{N} \left| \mathrm{accuracy}(b) - \mathrm{confidence}(b) \right|

    In [0, 1]; lower is better. Confidences are taken as they are: stretching them to the least and the greatest of a set first, as is done for abstain
    scores, makes the error hang on its extremes. A confidence on an edge belongs to the bin above. Raises `ValueError` for unequal lengths, no
    question, or a confidence outside [0, 1].
    """
    sure, hits = np.asarray(confidences, dtype=float), np.asarray(right, dtype=float)
    if sure.shape != hits.shape or not sure.size:
        raise ValueError(f"{sure.size} confidences and {hits.size} answers: give one of each a question, and at least one question")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("a confidence lies between 0 and 1")
    # Rounded, so that 0.1 + 0.2 and 0.3 share a bin, and likewise what falls short of an edge by rounding.
    bins = np.minimum(np.floor(np.round(sure * BINS, 9)).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=hits - sure, minlength=BINS)
    return float(np.abs(gaps).sum()) / sure.size


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@cache
def _phrases(tag: str) -> list[list[str]]:
    listed = yaml.safe_load(files(__package__).joinpath("refusals.yaml").read_text(encoding="utf-8"))[tag]
    return [words(phrase) for phrase in (LANGUAGES[tag].refusal, *listed)]


def _holds(text: Sequence[str], phrase: Sequence[str]) -> bool:
    return any(text[at : at + len(phrase)] == phrase for at in range(len(text) - len(phrase) + 1))


REFUSES = MetricCard(
    "refuses",
    "answer",
    "1 where it says in the asked language that it does not know or cannot answer",
    "1[holds a phrase of refusals.yaml, as words]",
    "0 or 1",
    "lower",
    "as base",
    "any: phrases for every language of the table",
    "phrases are our own",
)
_FENG = "Feng et al., arXiv 2402.00367"
_COUNTED = "answers; A right, B abstained though known, C wrong, D abstained and not known"


def _outcome(name: str, does: str, formula: str, bounds: str = "0 to 1", better: str = "higher", paper: str = _FENG) -> MetricCard:
    return MetricCard(name, _COUNTED, does, formula, bounds, better, "as base", ANY_NUMBERS, paper)


CARDS = (
    _outcome("reliable_accuracy", "share of what was answered that is right", "A / (A + C)"),
    _outcome("effective_reliability", "right less wrong", "(A - C) / N", "-1 to 1"),
    _outcome("abstain_accuracy", "share rightly answered or rightly abstained from", "(A + D) / N"),
    _outcome("abstain_precision", "share of abstentions that avoid a wrong answer", "D / (B + D)"),
    _outcome("abstain_recall", "share of what would be wrong that is abstained from", "D / (C + D)"),
    _outcome("abstain_f1", "harmonic mean of precision and recall", "2 D / (B + C + 2 D)"),
    MetricCard(
        "calibration_error",
        "confidences",
        "how far confidence is from accuracy, over ten bins of equal width",
        "Σ |b| / N · |accuracy(b) - confidence(b)|",
        "0 to 1",
        "lower",
        "as base",
        ANY_NUMBERS,
        "Guo et al., arXiv 1706.04599",
    ),
)
