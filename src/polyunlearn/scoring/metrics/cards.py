"""The card of a metric: what docs/metrics.md and the reports say of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricCard:
    """`of` is what it is measured on; `range` its least and greatest value; `better` which way is good: for an answer, to a real question; `gold` what
    a model shows that never met the claim (for an answer, to a fake question); `scripts` what becomes of it in other scripts; `paper` its source."""

    name: str
    of: str
    does: str
    formula: str
    range: str
    better: str
    gold: str
    scripts: str
    paper: str


ANY_TEXT = "any: Unicode text after NFKC and case folding"
"""What most metrics of text say of scripts."""

ANY_TOKENS = "any: counts tokens; compare within a language, since tokenisers split some more finely"
"""What metrics of log-probs say of scripts."""

ANY_NUMBERS = "any: sees no text"
"""What metrics of numbers say of scripts."""
