"""The card of a metric: what docs/metrics.md and the reports say of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricCard:
    """`of` is what it is measured on; `range` its least and greatest value; `better` which way is good of the answer to a real question, or, where claims
    alone are asked, of the claim; `gold` what a model shows of a claim that it never met; `scripts` what becomes of it in other scripts; `paper` its source."""

    name: str
    of: str
    does: str
    formula: str
    range: str
    better: str
    gold: str
    scripts: str
    paper: str

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The least and greatest value as numbers; None where there is none."""
        return (0.0, 1.0) if self.range in ("0 or 1", "0 to 1") else None


ANY_TEXT = "any: Unicode text after NFKC and case folding"
"""What most metrics of text say of scripts."""

ANY_TOKENS = "any: counts tokens; compare within a language, since tokenisers split some more finely"
"""What metrics of log-probs say of scripts."""

ANY_NUMBERS = "any: sees no text"
"""What metrics of numbers say of scripts."""
