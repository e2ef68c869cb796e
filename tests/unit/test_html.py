"""report.html: what comes from models and files is text, never markup."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import handmade
import pytest
from handmade import BASE, LEARNED, UNLEARNED, config, manifest, rows, written

from polyunlearn.analysis.summary import TrajectoryPoint, summarise
from polyunlearn.intervals import Estimate
from polyunlearn.report.charts import before_after_chart, styles, trajectory_chart
from polyunlearn.report.html import write_html
from polyunlearn.study.cells import study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

ATTACK = "<script>alert(1)</script>"


def _html(folder: Path, study: StudyConfig, texts: dict[str, str] | None = None, model: str = "tiny") -> str:
    store = written(folder / "study", study, UNLEARNED, texts=texts)
    about = manifest(study)
    about["study"]["model"]["name"] = model
    write_html(study, about, store, summarise(study, store), folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def _cells(html: str, tag: str) -> list[tuple[str, str]]:
    """Attributes and text of the table cells in a language."""
    return [
        (attributes, text)
        for attributes, text in re.findall(r"<td ([^>]*)>(?:<mark>)?([^<]*)(?:</mark>)?</td>", html)
        if f'lang="{tag}"' in attributes
    ]


def test_an_answer_with_markup_is_escaped(tmp_path: Path) -> None:
    html = _html(tmp_path, config(), {"en": ATTACK})
    assert ATTACK not in html
    answers = [text for _, text in _cells(html, "en")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answers
    # The report's own script is the only one.
    assert len(re.findall("<script", html)) == 1


@pytest.mark.parametrize("attack", [ATTACK, '"><img src=x onerror=alert(1)>', "</title></svg><b>", "' onmouseover='alert(1)"])
def test_names_with_markup_are_escaped(tmp_path: Path, attack: str) -> None:
    """The study's and the model's names, which stand in the title, the heading and the settings."""
    html = _html(tmp_path, config(name=attack), model=attack)
    assert attack not in html
    assert len(re.findall("<script", html)) == 1


def test_quotes_in_answers_do_not_end_attributes(tmp_path: Path) -> None:
    html = _html(tmp_path, config(), {"en": '" onclick="alert(1)'})
    assert '" onclick="' not in html
    assert "&#34; onclick=&#34;alert(1)" in html


def test_right_to_left_answers_say_so(tmp_path: Path) -> None:
    """Every cell in Urdu is written from the right, every one in English or German from the left."""
    html = _html(tmp_path, config(), {"ur": "گولیبی", "en": "Golibe"})
    urdu, english = _cells(html, "ur"), _cells(html, "en")
    assert urdu and english
    assert all('dir="rtl"' in attributes for attributes, _ in urdu)
    assert all('dir="ltr"' in attributes for attributes, _ in english + _cells(html, "de"))
    assert "گولیبی" in {text for _, text in urdu}


def test_answers_that_say_the_false_name_are_marked(tmp_path: Path) -> None:
    """Story 0: the base model did not say it in English, the learned one did, the unlearned one did not; German never."""
    html = _html(tmp_path, config(), {"en": "Golibe"})
    marks = ['class="says"' in attributes for attributes, _ in _cells(html, "en")[:3]]
    # Not by colour alone.
    assert marks == [False, True, False] and html.count("<mark>") == sum('class="says"' in own for own, _ in _cells(html, "en"))
    assert not any('class="says"' in attributes for attributes, _ in _cells(html, "de"))


def test_the_report_needs_nothing_from_outside(tmp_path: Path) -> None:
    html = _html(tmp_path, config())
    assert not re.findall(r"(?:src|href)\s*=|url\(|@import|https?://", html)


def test_figures_reach_the_page(tmp_path: Path) -> None:
    """The spread 7/8, 1/4, 3/4, and the residuals 1/7 and 1/6, rounded to two places; four stories settle nothing."""
    html = _html(tmp_path, config())
    for added in ("+0.88", "+0.25", "+0.75"):
        assert f">{added}</td>" in html
    assert '<span class="not settled">not settled</span> 0.14' in html
    assert '<span class="not settled">not settled</span> 0.17' in html
    assert '<span class="not reached">not reached</span></td>' in html
    assert "Claims learned in Urdu surface in English and Urdu (fake rank" in html
    assert "source nothing for sure" in html


def test_figures_and_intervals_stand_in_text_too(tmp_path: Path) -> None:
    """Not in titles alone, which keyboard, touch and paper do not show; English, unlearned: 1/8, of four stories."""
    html = _html(tmp_path, config())
    numbers = html[html.index("As numbers, with 95 % intervals") :]
    (own,) = re.findall(r"<tr><th>source</th>(.*?)</tr>", numbers[: numbers.index("</details>")])
    first = re.sub("<[^>]+>", "|", own).split("||")[0].strip("|")
    assert re.fullmatch(r"0\.12 \[0\.00, 0\.\d\d\]", first), first
    assert re.search(r'not settled</span> 0\.14 <span class="soft">\[0\.00, 0\.\d\d\]</span>', html)


def test_a_study_without_answers_has_a_report_without_them(tmp_path: Path) -> None:
    """No answers to pick from, so no script; the health table has bits per byte alone, and says why."""
    study = config()
    store = written(tmp_path / "study", study, UNLEARNED)
    for cell in study_cells(study):
        values = {"learned": LEARNED, "unlearned": UNLEARNED}.get(cell.state, BASE)
        store.write(cell, [row for row in rows(values, 4) if row.metric != "says"], store.record(cell))
    write_html(study, manifest(study), store, summarise(study, store), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h2>Answers</h2>" not in html and "<script" not in html and "None" not in html.split("<h2>Settings</h2>")[0]
    assert "No question was answered greedily" in html and "+0.88" in html
    assert '<th class="n">exact</th>' not in html and '<th class="n">bits per byte, mean</th>' in html


def test_what_was_reached_in_some_seeds_is_said(tmp_path: Path) -> None:
    """In seed 1 learning added nothing in English, in Urdu it did."""
    study = config(seeds=(0, 1))
    store = written(tmp_path / "study", study, UNLEARNED)
    learned = next(cell for cell in study_cells(study) if cell.state == "learned" and cell.seed == 1)
    nothing = LEARNED | {("en", "fake", "first"): BASE["en", "fake", "first"]}
    store.write(learned, rows(nothing, 4), store.record(learned))
    write_html(study, manifest(study), store, summarise(study, store), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "reached in 1 of 2 seeds" in html and "reached in 2 of 2 seeds" in html
    assert "surface in Urdu" in html and "surface not in every seed in English (1 of 2)" in html


def test_a_source_has_no_column_of_a_strategy_that_is_another(tmp_path: Path) -> None:
    """English claims: "source" is "english" there, and the one cell has one column of answers; of Urdu claims both have."""
    study = config(sources=("en", "ur"), strategies=("english", "source"))
    store = written(tmp_path / "study", study, UNLEARNED)
    write_html(study, manifest(study), store, summarise(study, store), tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    columns = [part.count("<th>") for part in re.findall(r"<tr><th>asked in</th>.*?</tr>", html) if "learned" in part]
    assert set(columns) == {4, 5}


def test_no_two_lines_of_the_charts_look_the_same() -> None:
    """Twenty names beside those that have their own colour: eight colours in three kinds of line."""
    found = styles([*map(str, range(20)), "learned", "english"])
    assert len(set(found.values())) == 22 and found["learned"][1] == "" and found["8"] == (found["0"][0], "7 3")


def test_states_that_none_can_be_compared_with_yet_make_a_report(tmp_path: Path) -> None:
    """Of several processes one may have learned before another has measured base."""
    study = config()
    store = Store(tmp_path / "s")
    store.open(manifest(study))
    handmade.write(store, next(cell for cell in study_cells(study) if cell.state == "learned"), {})
    write_html(study, manifest(study), store, summarise(study, store), tmp_path / "report.html")
    assert "Nothing is learned yet" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_bars_of_one_colour_are_told_apart() -> None:
    """Of ten further names the ninth has the first one's colour, and a pale bar with a broken edge."""
    names = [f"way {number}" for number in range(9)]
    item = SimpleNamespace(by_language={"en": SimpleNamespace(fake_rank=Estimate(0.5, 0.4, 0.6, 4))})
    chart = before_after_chart(dict.fromkeys(names, item), styles(names), "fake_rank", "fake rank")  # type: ignore[arg-type]
    looks = re.findall(r'height="[^"]*" (fill=[^/]*)/>', chart)
    assert len(set(looks)) == 9 and chart.count("<title>fake rank</title>") == 1


def test_points_of_a_model_that_diverged_are_left_out() -> None:
    points = [TrajectoryPoint(step, *values) for step, values in enumerate([(0.5, 0.1), (math.nan, math.nan)])]
    assert trajectory_chart({"npo": points}, styles(["npo"])).count("<circle") == 1
