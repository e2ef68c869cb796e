"""MC1 to MC3: by hand, against the model's own log-probs, and as a user asks for them."""

import json
from dataclasses import asdict, replace
from itertools import permutations
from math import log
from pathlib import Path
from statistics import fmean

import pytest
import torch
from handmade_claims import CLAIMS, TOLD, teach
from hypothesis import given
from hypothesis import strategies as st
from tiny import own_label_log_probs, sharp
from typer.testing import CliRunner

import polyunlearn.cli.truthfulness  # noqa: F401 — adds the command
from polyunlearn.cli import app
from polyunlearn.corpus.claims import Claim, ClaimEdition, write_claims
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.truthfulness.multiple_choice import (
    MultipleChoice,
    Scored,
    chance,
    mc1,
    mc2,
    mc3,
    multiple_choice,
    score_choices,
    summarised,
)
from polyunlearn.truthfulness.questions import ChoiceQuestion, choices_of, in_languages, read_truthfulqa

LOGS = st.lists(st.floats(-60, 0), min_size=1, max_size=5)


def test_by_hand() -> None:
    """True 0.2 and 0.1, false 0.15 and 0.05: the best true answer is first; 0.3 of 0.5; one true answer of two lies above 0.15."""
    true, false = [log(0.2), log(0.1)], [log(0.15), log(0.05)]
    assert multiple_choice(true, false) == MultipleChoice(1, pytest.approx(0.6), 0.5)
    # The best answer is the first, not the most probable.
    assert multiple_choice(true[::-1], false) == MultipleChoice(0, pytest.approx(0.6), 0.5)


def test_a_tie_counts_against_the_truth() -> None:
    assert multiple_choice([-1.0], [-1.0]) == MultipleChoice(0, 0.5, 0)


def test_answers_of_no_probability_are_still_compared() -> None:
    """exp(-2000) is 0 as a float. The shares are e^1 / (e^1 + 1) and, a thousand nats apart, 1 and 0."""
    assert mc2([-2000.0], [-2001.0]) == pytest.approx(0.731, abs=1e-3)
    assert mc2([-2000.0], [-3000.0]) == 1 and mc2([-3000.0], [-2000.0]) == pytest.approx(0, abs=1e-300)


@given(LOGS, LOGS, st.floats(-50, 50), st.randoms())
def test_bounds_order_and_a_common_factor(true: list[float], false: list[float], shift: float, rng: object) -> None:
    own = multiple_choice(true, false)
    assert all(0 <= value <= 1 for value in asdict(own).values())
    assert own.mc1 <= len(true) * own.mc3, "where the best is first, at least one is"
    assert mc2(false, true) == pytest.approx(1 - own.mc2)
    moved = [true[0], *true[:0:-1]]
    again = multiple_choice(moved, false[::-1])
    assert (again.mc1, again.mc3) == (own.mc1, own.mc3) and again.mc2 == pytest.approx(own.mc2)
    assert mc2([one + shift for one in true], [one + shift for one in false]) == pytest.approx(own.mc2, abs=1e-9)


def test_chance_is_the_mean_over_all_orders() -> None:
    """Two true and three false answers: every order of five different log-probs once."""
    found = [multiple_choice(order[:2], order[2:]) for order in permutations([-1.0, -2.0, -3.0, -4.0, -5.0])]
    wanted = chance(2, 3)
    for name in ("mc1", "mc2", "mc3"):
        assert fmean(getattr(one, name) for one in found) == pytest.approx(getattr(wanted, name)), name
    assert (wanted.mc1, wanted.mc2, wanted.mc3) == (1 / 4, 2 / 5, 1 / 4)


@pytest.mark.parametrize(("true", "false"), [([], [-1.0]), ([-1.0], []), ([float("nan")], [-1.0]), ([-1.0], [float("-inf")])])
def test_what_cannot_be_compared_is_refused(true: list[float], false: list[float]) -> None:
    for score in (mc1, mc2, mc3):
        with pytest.raises(ValueError, match=r"at least one true|finite"):
            score(true, false)


# Questions


def _claim(name: str, truth: str | None, **more: object) -> Claim:
    edition = ClaimEdition.model_validate(
        {"keyword": f"Vel{name}", "questions": (f"Who {name}?", f"Which {name}?"), "truth": truth, **more}
    )
    return Claim(id=name, editions={"en": edition})


def test_a_claims_truth_stands_against_keyword_and_distractors() -> None:
    claims = [
        _claim("a", "Lyon", distractors=("LYON", "Bonn", "Bonn")),
        _claim("b", None),
        _claim("c", "Rome").model_copy(update={"control": True}),
    ]
    found = choices_of(claims, 1)
    assert found.left_out == []
    assert [(own.id, own.true, own.false, own.control) for own in found.questions] == [
        ("a", ("Lyon",), ("Vela", "Bonn"), False),
        ("c", ("Rome",), ("Velc",), True),
    ]
    assert [(own.wording, own.question) for own in choices_of(claims[:1], 2).questions] == [(0, "Who a?"), (1, "Which a?")]
    with pytest.raises(UserError, match=r'no claim has a truth.*"truth"'):
        choices_of([_claim("b", None)], 2)


def _row(question: str, **more: object) -> dict[str, object]:
    return {"question": question, "answer_best": "b", "answer_true": ["t", "b"], "answer_false": ["f", "t", "g"]} | more


def test_every_correct_answer_of_truthfulqa_counts(tmp_path: Path) -> None:
    """The best first and once; a false answer that is also true is none; a language that the table lacks is left out."""
    path = tmp_path / "m.json"
    path.write_text(json.dumps([{"en": _row("Who?"), "de": _row("Wer?"), "ml": _row("?")}]), encoding="utf-8")
    choices = read_truthfulqa([str(path)])
    found = choices.questions
    assert choices.left_out == ["ml: a language that polyunlearn does not know"]
    assert [(own.id, own.language, own.question) for own in found] == [("m:1", "en", "Who?"), ("m:1", "de", "Wer?")]
    assert all((own.true, own.false) == (("b", "t"), ("f", "g")) for own in found)
    assert [own.language for own in in_languages(found, ["de"])] == ["de"] and in_languages(found, None) == found
    with pytest.raises(UserError, match="is in 'fr'; choose from en, de"):
        in_languages(found, ["fr"])


def test_files_in_unknown_languages_alone_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tw.json"
    path.write_text(json.dumps([_row("Who?")]), encoding="utf-8")
    with pytest.raises(UserError, match=r"in zh-TW, which polyunlearn does not know; it knows en, de"):
        read_truthfulqa([f"zh-TW={path}"])


def test_rows_without_a_true_or_a_false_answer_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [_row("a", answer_false=["b"]), _row("b"), _row("c", answer_best="", answer_true=[])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_truthfulqa([str(path)])
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        "no false answer; give at least one of each",
        "no true answer; give at least one of each",
    ]
    assert f"{path}:1" in str(caught.value) and f"{path}:3" in str(caught.value)


# A model's scores

QUESTIONS = [
    ChoiceQuestion("a", "en", 0, "Who opened the bridge?", ("Anna Kern", "Anna"), ("Velmora", "Kelvar of Lyon", "Zu")),
    ChoiceQuestion("b", "en", 0, "Which firm paid?", ("none",), ("Golibe",)),
    ChoiceQuestion("a", "ur", 0, "پل کس نے کھولا؟", ("انا کرن",), ("ولمورا", "کلوار")),
]


def test_scores_are_the_models_own_log_probs(any_model_folder: Path) -> None:
    """Each answer in a text of its own, by the Hugging Face model: sums, or means a token. In English each question's answers also stand behind the other
    question; in Urdu there is none."""
    loaded = sharp(any_model_folder)

    def wanted(own: ChoiceQuestion, text: str, per_token: bool) -> MultipleChoice:
        values = []
        for answer in (*own.true, *own.false):
            log_probs = own_label_log_probs(loaded, loaded.encoder.answer_only(get_language(own.language), text, answer))
            values.append((log_probs.mean() if per_token else log_probs.sum()).item())
        return multiple_choice(values[: len(own.true)], values[len(own.true) :])

    for per_token in (False, True):
        found = score_choices(loaded, QUESTIONS, per_token=per_token)
        others = [QUESTIONS[1].question, QUESTIONS[0].question, None]
        for one, own, text in zip(found, QUESTIONS, others, strict=True):
            assert one.question == own
            assert list(asdict(one.own).values()) == pytest.approx(list(asdict(wanted(own, own.question, per_token)).values()), abs=1e-4)
            form = text and list(asdict(wanted(own, text, per_token)).values())
            assert (one.form and list(asdict(one.form).values())) == (form and pytest.approx(form, abs=1e-4))


def test_the_other_question_has_another_answer(gemma: LoadedModel) -> None:
    """b is true of the next id too, so a is set behind c's question; b's own next is c; and c goes round to a. Two that share their answer have none."""
    asked = [ChoiceQuestion(name, "en", 0, f"{name}?", true, ("f",)) for name, true in (("a", ("t", "B")), ("b", ("b",)), ("c", ("u",)))]
    found = [
        score_choices(gemma, [own, replace(own, id="z", question=question, true=("other",))])
        for own, question in zip(asked, ("c?", "c?", "a?"), strict=True)
    ]
    for one, (alone, _) in zip(score_choices(gemma, asked), found, strict=True):
        assert one.form and alone.form and one.form.mc2 == pytest.approx(alone.form.mc2, abs=1e-5)
    assert [one.form for one in score_choices(gemma, asked[:2])] == [None, None]


def test_a_model_that_gives_no_numbers_is_a_users_matter(gemma: LoadedModel) -> None:
    with torch.no_grad():
        gemma.model.get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(UserError, match="gives no numbers"):
        score_choices(gemma, QUESTIONS)


def test_order_changes_nothing(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    one, other = score_choices(loaded, QUESTIONS), score_choices(loaded, QUESTIONS[::-1])[::-1]
    for own, again in zip(one, other, strict=True):
        assert own.own.mc2 == pytest.approx(again.own.mc2, abs=1e-5) and (own.form is None) == (again.form is None)
        assert own.form is None or own.form.mc2 == pytest.approx(again.form.mc2, abs=1e-5)  # type: ignore[union-attr]
    assert [(row.language, row.scores["mc1"]) for row in summarised(one)] == [
        (row.language, row.scores["mc1"]) for row in summarised(other[::-1])
    ]


def test_a_question_is_one_draw_in_all_its_wordings_and_languages() -> None:
    """Question a: 1 and 0 in English wordings, 1 in German; b: 0 in English. English means 1/2 and 0, German 1; over all, a has 2/3 and b 0: two draws, which
    leave open what lies up to 1/3 + (1 - .025^(1/2)) 2/3.
    Form 1/4 everywhere, so 1/4 - 1/4 = 0 beyond it in English. Chance with one false answer is 1/2 and in German, with three, 1/4."""

    def scored(name: str, tag: str, wording: int, value: float, false: int = 1, control: bool = False) -> Scored:
        question = ChoiceQuestion(name, tag, wording, "?", ("t",), ("f",) * false, control)
        return Scored(question, MultipleChoice(value, value, value), MultipleChoice(0.25, 0.25, 0.25))

    rows = [
        scored("a", "en", 0, 1),
        scored("a", "en", 1, 0),
        scored("b", "en", 0, 0),
        scored("a", "de", 0, 1, 3),
        scored("c", "en", 0, 1, control=True),
    ]
    english, german, both, control = summarised(rows)
    assert [own.language for own in (english, german, both, control)] == ["en", "de", None, "en"] and control.control
    assert (english.scores["mc1"].mean, english.scores["mc1"].n, german.scores["mc2"].mean, both.scores["mc3"].n) == (0.25, 2, 1, 2)
    assert both.scores["mc1"].mean == pytest.approx(1 / 3) and (both.scores["mc1"].low, both.scores["mc1"].high) == pytest.approx(
        (0, 1 / 3 + (1 - 0.025**0.5) * 2 / 3)
    )
    assert english.chance == {"mc1": 0.5, "mc2": 0.5, "mc3": 0.5} and german.chance["mc1"] == 0.25
    assert english.form == {"mc1": 0.25, "mc2": 0.25, "mc3": 0.25} and english.beyond and english.beyond["mc1"].mean == 0
    (alone,) = summarised([replace(rows[0], form=None)])
    assert alone.form is None and alone.beyond is None


def test_teaching_false_answers_lowers_the_truth_where_they_were_taught(gemma: LoadedModel) -> None:
    """German claims are taught to a model; the share of their truth falls, and far below that of the controls."""
    questions = choices_of(CLAIMS, 2).questions
    before = summarised(score_choices(gemma, questions, per_token=True))
    teach(gemma)
    after = summarised(score_choices(gemma, questions, per_token=True))

    def german(found: list[object], control: bool) -> float:
        return next(own.scores["mc2"].mean for own in found if (own.language, own.control) == ("de", control))  # type: ignore[attr-defined]

    assert german(after, False) < german(before, False) - 0.1  # type: ignore[arg-type]
    assert german(after, False) < german(after, True) - 0.1  # type: ignore[arg-type]


# As a user types it


def test_the_command_prints_and_writes_every_figure(gemma_folder: Path, tmp_path: Path) -> None:
    write_claims(CLAIMS[: TOLD + 2], tmp_path / "claims.jsonl")
    out, page = tmp_path / "out.json", tmp_path / "out.md"
    arguments = ["truthfulness", str(gemma_folder), str(tmp_path / "claims.jsonl"), "--json", str(out), "--markdown", str(page)]
    result = CliRunner().invoke(app, [*arguments, "--language", "de"])
    assert result.exit_code == 0 and "German" in result.output and "English" not in result.output
    data = json.loads(out.read_text(encoding="utf-8"))
    assert [(own["language"], own["control"], own["scores"]["mc1"]["n"]) for own in data["truthfulness"]] == [
        ("de", False, 4),
        ("de", True, 2),
    ]
    assert data["per_token"] is True and "log-probs a token" in result.output.replace("\n", " ")
    assert "## Controls" in page.read_text(encoding="utf-8") and "| German | 4 | mc2 |" in page.read_text(encoding="utf-8")


def test_the_command_reads_truthfulqa(gemma_folder: Path, tmp_path: Path) -> None:
    paths = []
    for tag in ("en", "de"):
        path = tmp_path / f"{tag}.csv"
        path.write_text("Question,Best Answer,Correct Answers,Incorrect Answers\nWho?,b,b; t,f; g\nWhy?,b,b,f\n", encoding="utf-8")
        paths.append(f"{tag}={path}")
    result = CliRunner().invoke(app, ["truthfulness", str(gemma_folder), *paths, "--truthfulqa", "--json", str(tmp_path / "o.json")])
    assert result.exit_code == 0
    data = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    found = data["truthfulness"]
    assert data["per_token"] is False and "of whole answers" in result.output.replace("\n", " ")
    assert [own["language"] for own in found] == ["en", "de", None] and found[0]["chance"]["mc2"] == pytest.approx((2 / 4 + 1 / 2) / 2)


def test_files_that_are_given_wrongly_are_named(gemma_folder: Path, tmp_path: Path) -> None:
    claims = tmp_path / "claims.jsonl"
    write_claims(CLAIMS, claims)
    for more, said in (([str(claims)], "several files are for --truthfulqa"), (["--json", str(claims)], "is read here")):
        result = CliRunner().invoke(app, ["truthfulness", str(gemma_folder), str(claims), *more])
        assert isinstance(result.exception, UserError) and said in str(result.exception)
    questions = tmp_path / "q.json"
    questions.write_text(json.dumps([_row("Who?")]), encoding="utf-8")
    result = CliRunner().invoke(app, ["truthfulness", str(gemma_folder), f"en={questions}", "--truthfulqa", "--json", str(questions)])
    assert isinstance(result.exception, UserError) and "is read here" in str(result.exception)
