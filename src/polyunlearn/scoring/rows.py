"""The row: one measured value, the unit in which everything is stored, analysed and reported."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One value of one metric, for one probe (or one text) of one model state.

    `step` is the unlearning step at which it was measured, the cell's last for its end state. `asks` is "fake", "real" or "text", in membership inference "member" or "unseen",
    under LINGTEA's protocol "forget", "retain" or "held out";
    `wording` is -1 where there is none. `text` holds the greedy answer on the rows that were read off one, on those of
    "candidate_rank" the numbers of the candidates from the most probable on, else "".
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
