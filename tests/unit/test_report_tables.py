"""Tables as text: what stands in a cell."""

from polyunlearn.intervals import Estimate
from polyunlearn.report.tables import estimate_text, markdown_table


def test_no_estimate_says_minus_nothing() -> None:
    """-.004 is 0.00 to two places, and -.005 the first that is not."""
    assert estimate_text(Estimate(-0.004, -0.0051, 0.0, 3)) == "0.00 [-0.01, 0.00]"
    assert estimate_text(None) == "–"


def test_a_bar_in_a_name_is_no_column() -> None:
    assert markdown_table(("a", "b"), [["x | y", "`z`"]]) == ["| a | b |", "| --- | --- |", "| x \\| y | 'z' |"]
