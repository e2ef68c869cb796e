"""The row: one measured value, the unit in which everything is stored, analysed and reported."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One value of one metric, for one probe (or one text) of one model state.

    `step` is the unlearning step at which it was measured, the cell's last for its end state. `asks` is "fake", "real" or "text";
    `wording` is -1 where there is none. `text` holds the greedy answer on the rows that were read off one, else "".
    """

    step: int
    end: bool
    story: str
    language: str
    asks: str
    wording: int
    metric: str
    value: float
    text: str = ""


METRICS = {
    "first": "1 where the keyword (fake) or the reference answer (real) has the highest length-normalised log-probability among the "
    "candidates, which are the answers of other stories in the same language and script; else 0. Chance is one over the candidates.",
    "probability": "Probability of the whole answer given the question, 0 to 1 (product over its tokens).",
    "loss": "Negative log-probability of the answer, in nats a token; 0 is certainty. Tokens differ by language: compare within one.",
    "says": "1 where the greedy answer holds the keyword (fake) or the exact reference answer (real) in any accepted spelling and "
    "script; else 0.",
    "chrf": "chrF of the greedy answer against the reference, 0 to 1.",
    "repetition": "Share of the greedy answer's character 4-grams that repeat an earlier one; near 1 is a loop.",
    "empty": "1 where the greedy answer holds no letter and no digit.",
    "off_script": "1 where at least half of the greedy answer's letters are not of the asked language's script.",
    "bits_per_byte": "Bits needed per UTF-8 byte of held-out articles; lower is better. Compare within a language.",
}
