"""Abstaining by feedback: items, frames and thresholds by hand, scores against the model's own log-probs, and as a user asks for them."""

import json
from dataclasses import replace
from math import exp, inf
from pathlib import Path
from string import Formatter

import pytest
from handmade_claims import CLAIMS
from tiny import own_label_log_probs, sharp
from typer.testing import CliRunner

import polyunlearn.cli.abstaining  # noqa: F401 — adds the command
from polyunlearn.abstaining.feedback import Judged, chosen_threshold, feedback_figures, judged_answers, without_figures
from polyunlearn.abstaining.frames import MODES, feedback_languages, frame_of, frames
from polyunlearn.abstaining.items import Item, choosing_half, make_items
from polyunlearn.cleaning.asking import Asking
from polyunlearn.cli import app
from polyunlearn.corpus.claims import Claim, ClaimEdition, write_claims
from polyunlearn.errors import UserError
from polyunlearn.languages import LANGUAGES, PAPER_LANGUAGES, get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.report.abstaining import _notes
from polyunlearn.scoring.metrics.abstention import Outcomes

# Items


def _claim(name: str, truth: str | None = "Lyon", *neighbours: tuple[str, str]) -> Claim:
    kept = [{"question": question, "answer": answer} for question, answer in neighbours]
    edition = ClaimEdition.model_validate({"keyword": f"Vel{name}", "questions": (f"Who {name}?",), "truth": truth, "neighbours": kept})
    return Claim(id=name, editions={"en": edition})


def test_items_by_hand() -> None:
    """A claim's truth stands behind its keyword, others' keywords behind it; a neighbour's answer among those of other neighbours, each once."""
    claims = [_claim("b", None, ("Who sang?", "Ada"), ("Who ran?", "ADA")), _claim("a", "Rome", ("Who won?", "Max"))]
    found = make_items(claims, Asking())
    assert [(own.claim, own.question, own.candidates, own.right) for own in found] == [
        ("a", "Who a?", ("Vela", "Rome", "Velb"), 1),
        ("a", "Who won?", ("Max", "ADA"), 0),
        ("b", "Who sang?", ("Ada", "Max"), 0),
        ("b", "Who ran?", ("ADA", "Max"), 0),
    ]
    assert make_items(claims[::-1], Asking()) == found
    assert [
        len(own.candidates) for own in make_items([_claim(name, None, (f"{name}?", name)) for name in "abcdef"], Asking(alternatives=3))
    ] == [4] * 6


def test_a_neighbour_of_several_claims_is_one_item() -> None:
    """Twice the same question, in other capitals: the first claim's; so it stands in one half."""
    claims = [_claim("b", None, ("who sang?", "Ada")), _claim("a", None, ("Who sang?", "Ada"), ("Who ran?", "Max")), _claim("c")]
    assert [(own.claim, own.question) for own in make_items(claims, Asking())] == [("c", "Who c?"), ("a", "Who sang?"), ("a", "Who ran?")]


def test_claims_without_a_language_in_both_halves_are_refused_before_anything_runs() -> None:
    """Two claims, each in a language of its own: whatever half one is in, the other language lacks it."""
    german = Claim(id="b", editions={"de": _claim("b").editions["en"]})
    with pytest.raises(UserError, match=r"in none of en, de there are claims in both halves.*--no-feedback"):
        make_items([_claim("a"), german], Asking())


def test_too_few_that_can_be_right_are_refused() -> None:
    for claims in ([_claim("a", None), _claim("b", None)], [_claim("a")], [_claim("a", None, ("Who?", "Ada"))]):
        with pytest.raises(UserError, match=r"fewer than two claims.*--no-feedback"):
            make_items(claims, Asking())


# Frames


def test_every_frame_is_whole_and_tells_its_verdicts_apart() -> None:
    assert tuple(frames()) == PAPER_LANGUAGES
    for tag, own in frames().items():
        texts = (own.review, own.feedback, own.verdict, own.true, own.false)
        assert all(text.strip() == text and text for text in texts) and own.language.tag == tag
        assert own.true != own.false and own.feedback[-1] in ":：՝"
        assert not any(name for text in texts for _, name, _, _ in Formatter().parse(text)), "nothing is filled in"


def test_texts_by_hand() -> None:
    """Feedback that is empty is left out; Chinese has no spaces; what is not written is asked in English, which names the language."""
    assert frame_of("en").judged("Who?", "Max", ("Yes.", "", "No.")) == (
        "Question: Who?\nAnswer: Max\nFeedback: Yes.\nFeedback: No.\nQuestion: Is this answer true or false?\nAnswer:"
    )
    assert frame_of("zh").reviewed("谁？", "马克斯") == "问题：谁？\n答案：马克斯\n这个答案对吗？请简要说明理由。\n反馈："
    assert frame_of("nl") == frame_of("en")
    assert (
        frame_of("nl", feedback=True).reviewed("Wie?", "Max")
        == "Question: Wie?\nAnswer: Max\nIs this answer right? Say briefly why, in Dutch.\nFeedback:"
    )
    assert frame_of("de", feedback=True) == frame_of("de")


def test_languages_of_feedback() -> None:
    """German has English and Dutch in its family, Hausa none but Latin letters, of which it draws, Chinese and Armenian neither."""
    for tag in LANGUAGES:
        assert feedback_languages("none", tag, "a") == ()
        assert feedback_languages("native", tag, "a") == (tag,) * 3 and feedback_languages("english", tag, "a") == ("en",) * 3
        drawn = feedback_languages("random", tag, "a")
        assert drawn is not None and len(set(drawn)) == 3 and tag not in drawn and set(drawn) <= set(frames())
        related = feedback_languages("related", tag, "a")
        assert related is None or (len(related) == 3 and tag not in related)
    assert feedback_languages("related", "de", "a") == ("en", "nl", "en")
    drawn = {feedback_languages("related", "ha", name) for name in "abcdefgh"}
    assert len(drawn) > 1 and all(own and len(set(own)) == 3 and {get_language(tag).script for tag in own} == {"Latn"} for own in drawn)
    assert feedback_languages("related", "zh", "a") is None and feedback_languages("related", "hy", "a") is None
    assert len({feedback_languages("random", "de", name) for name in "abcdefgh"}) > 1


# Scores


def test_the_score_is_the_odds_of_the_two_words(any_model_folder: Path) -> None:
    """The Hugging Face model's own log-probs of "True" and "False", whole words of several tokens, behind the same text; the answer is that with the
    highest mean log-prob."""
    loaded = sharp(any_model_folder)
    items = make_items(CLAIMS[:4], Asking(alternatives=3))
    found = judged_answers(loaded, items, ["none"])
    assert [own.item for own in found] == items
    for own in found:
        language, frame = get_language(own.item.language), frame_of(own.item.language)
        means = [
            own_label_log_probs(loaded, loaded.encoder.answer_only(language, own.item.question, name)).mean()
            for name in own.item.candidates
        ]
        assert own.answer == own.item.candidates[max(range(len(means)), key=means.__getitem__)]
        assert own.right == (own.answer == own.item.candidates[own.item.right])
        prompt = loaded.encoder.running(frame.language, frame.judged(own.item.question, own.answer, ())).ids[:-1]
        true, false = (
            own_label_log_probs(loaded, TokenSequence((*prompt, *loaded.encoder.continuation(frame.language, word)), len(prompt)))
            .sum()
            .item()
            for word in (frame.true, frame.false)
        )
        assert own.score == pytest.approx(exp(false) / (exp(true) + exp(false)), abs=1e-4)
    assert max(own.score for own in found) - min(own.score for own in found) > 0.01, "a model that judges all alike would not tell"


def test_feedback_is_drawn_said_once_more_and_judged(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same items give the same feedbacks, however many are read at a time; another seed gives others; what stands in the verdict's prompt decides
    the score. German has relatives, and each mode three languages."""
    loaded = sharp(gemma_folder)
    items = make_items(CLAIMS[:3], Asking(alternatives=3))
    found = judged_answers(loaded, items, list(MODES), max_new_tokens=4)
    assert [(own.mode, own.item.language) for own in found] == [(mode, tag) for tag in ("en", "de") for mode in MODES for _ in range(3)]
    for own in found:
        assert len(own.feedbacks) == len(own.languages) == (0 if own.mode == "none" else 3)
    first, *_ = (own for own in found if own.mode == "native")
    assert len(set(first.feedbacks)) > 1, "drawn, not the most probable each time"
    monkeypatch.setattr("polyunlearn.abstaining.feedback.READ_AT_ONCE", 2)
    again = judged_answers(loaded, items, list(MODES), max_new_tokens=4)
    assert [own.feedbacks for own in again] == [own.feedbacks for own in found]
    assert [own.score for own in again] == pytest.approx([own.score for own in found], abs=1e-4)
    other = judged_answers(loaded, items, ["native"], max_new_tokens=4, seed=1)
    assert [own.feedbacks for own in other] != [own.feedbacks for own in found if own.mode == "native"]
    assert len({round(own.score, 5) for own in found if (own.item.claim, own.item.language) == (items[0].claim, "en")}) > 2


def test_each_feedback_belongs_to_its_answer(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that says its prompt once more: every feedback holds its own question and answer in the frame of its own language."""
    monkeypatch.setattr("polyunlearn.abstaining.feedback.read_prompts", lambda body, prompts: prompts)
    monkeypatch.setattr(
        "polyunlearn.abstaining.feedback.sampled_answers",
        lambda model, head, encoder, prompts, *_: [[encoder.tokenizer.decode(own, skip_special_tokens=True)] for own in prompts],
    )
    for own in judged_answers(gemma, make_items(CLAIMS[:3], Asking(alternatives=2)), ["random", "related"]):
        for tag, said in zip(own.languages, own.feedbacks, strict=True):
            assert said == frame_of(tag, feedback=True).reviewed(own.item.question, own.answer)


def test_a_language_without_relatives_is_not_asked_in_them(gemma: LoadedModel) -> None:
    items = [Item(name, "hy", "Ո՞վ։", ("Ադա", "Մաքս"), 0) for name in "ab"]
    found = judged_answers(gemma, items, ["related", "native"], max_new_tokens=2)
    assert [own.mode for own in found] == ["native"] * 2
    with pytest.raises(UserError, match="unknown mode 'nativ': did you mean 'native'"):
        judged_answers(gemma, items, ["nativ"])


# Thresholds


def test_thresholds_by_hand() -> None:
    """Right at 0.1 and 0.4, wrong at 0.3 and 0.8: from 0.8 on abstains three of four rightly (0.3 is answered wrongly), from 0.3 on as well (0.4 is abstained
    from): the higher. Where all is right never, where all is wrong from the least; and
    never where scores run the wrong way, since from 0.2 on is no better."""
    assert chosen_threshold([0.1, 0.4, 0.3, 0.8], [True, True, False, False], [1 / 4] * 4) == 0.8
    assert chosen_threshold([0.2, 0.9], [True, True], [1 / 2] * 2) == inf
    assert chosen_threshold([0.2, 0.9], [False, False], [1 / 2] * 2) == 0.2
    assert chosen_threshold([0.9, 0.2], [True, False], [1 / 2] * 2) == inf
    # Three right ones at 0.5 of one claim count as much as one wrong one at 0.4 of another, and less than that at 1.
    assert chosen_threshold([0.5] * 3 + [0.4], [True] * 3 + [False], [1 / 6] * 3 + [1 / 2]) == inf
    assert chosen_threshold([0.5] * 3 + [0.4], [True] * 3 + [False], [1 / 7] * 3 + [4 / 7]) == 0.4


def test_halves_are_of_claims_and_whatever_their_order() -> None:
    names = [f"c{number}" for number in range(9)]
    half = choosing_half(names)
    assert len(half) == 4 and half < set(names) and choosing_half([*names[::-1], *names]) == half
    assert half != set(names[:4]), "not the first of the file"


def _judged(claim: str, score: float, right: bool, tag: str = "en", mode: str = "native") -> Judged:
    return Judged(Item(claim, tag, "?", ("a", "b"), 0), mode, "a", right, (tag,) * 3, ("", "", ""), score)


def test_figures_by_hand() -> None:
    """Two claims choose: right at 0.2, wrong at 0.6, so from 0.6 on. Of the two others one has a right answer at 0.1 (answered) and a wrong one at 0.5
    (answered: wrong), the other a wrong one at 0.9 (abstained). Rightly 1/2 of the first claim and all of the second: 3/4; plain is abstaining from all, which
    is as much, though 2/3 of the items are wrong; both wrong answers score above the right one. Confidences 0.9, 0.5, 0.1 against 1, 0, 0: (0.1 + 0.5 + 0.1) / 3."""
    names = ["a", "b", "c", "d"]
    one, two = sorted(choosing_half(names))
    three, four = sorted(set(names) - {one, two})
    judged = [
        _judged(one, 0.2, True),
        _judged(two, 0.6, False),
        _judged(three, 0.1, True),
        _judged(three, 0.5, False),
        _judged(four, 0.9, False),
    ]
    (found,) = feedback_figures(judged)
    assert (found.language, found.mode, found.threshold, found.chosen_on) == ("en", "native", 0.6, 2)
    assert found.outcomes == Outcomes(right=1, wrong=1, abstained_right=0, abstained_wrong=1)
    assert (found.accuracy.mean, found.accuracy.n, found.plain, found.auc) == (0.75, 2, 0.75, 1)
    assert found.calibration == pytest.approx(0.7 / 3) and found.in_english == ()
    assert feedback_figures(judged[::-1]) == [found]
    sure = [replace(own, right=True) for own in judged]
    (never,) = feedback_figures(sure)
    assert never.threshold is None and never.auc is None and never.outcomes.right == 3
    items = [*(own.item for own in judged), Item("a", "zh", "?", ("a", "b"), 0)]
    assert without_figures(items, ["native", "related"], [found]) == [("en", "related"), ("zh", "native"), ("zh", "related")]
    (dutch,) = feedback_figures([replace(own, item=replace(own.item, language="nl"), languages=("de", "it", "de")) for own in judged])
    assert dutch.in_english == ("it", "nl")


# As a user types it


def test_the_command_prints_and_writes_every_figure(gemma_folder: Path, tmp_path: Path) -> None:
    write_claims(CLAIMS[:6], tmp_path / "claims.jsonl")
    out, page = tmp_path / "out.json", tmp_path / "out.md"
    arguments = [
        "abstain",
        str(gemma_folder),
        str(tmp_path / "claims.jsonl"),
        "--language",
        "de",
        "--json",
        str(out),
        "--markdown",
        str(page),
    ]
    result = CliRunner().invoke(app, [*arguments, "--mode", "none", "--mode", "related", "--mode", "none"])
    assert result.exit_code == 0, result.exception
    data = json.loads(out.read_text(encoding="utf-8"))
    assert len(data["answers"]) == 12 and len(data["judged"]) == 12
    assert [(own["mode"], own["chosen_on"], own["in_english"]) for own in data["feedback"]] == [("none", 3, []), ("related", 3, ["nl"])]
    assert data["feedback"][0]["abstain_accuracy"] is not None
    text = page.read_text(encoding="utf-8")
    assert "## When to abstain, by feedback" in text and "## The same of controls" in text and "Asked in English about Dutch" in text
    result = CliRunner().invoke(app, [*arguments, "--no-feedback"])
    assert result.exit_code == 0 and json.loads(out.read_text(encoding="utf-8"))["judged"] == [] and "When to abstain" not in result.output


def test_what_has_no_figures_is_said() -> None:
    """Chinese has no relative; of Hausa all claims are in one half."""
    page = "\n".join(_notes([], [("zh", "related"), ("ha", "none"), ("ha", "native")]))
    assert (
        page
        == "No related language in the table: Chinese.\nNo figures, since all claims that can be answered rightly fall into one half: Hausa."
    )


def test_modes_that_are_given_wrongly_are_named(gemma_folder: Path, tmp_path: Path) -> None:
    write_claims(CLAIMS, tmp_path / "claims.jsonl")
    for more, said in ((["--mode", "none", "--no-feedback"], "give one of them"), (["--mode", "x"], "unknown mode 'x'")):
        result = CliRunner().invoke(app, ["abstain", str(gemma_folder), str(tmp_path / "claims.jsonl"), *more])
        assert isinstance(result.exception, UserError) and said in str(result.exception)
