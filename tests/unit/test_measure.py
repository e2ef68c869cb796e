"""Rows of one model state: what each metric is, in numbers."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import own_label_log_probs, sequences, sharp
from torch import Tensor

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.languages import get_language
from polyunlearn.models.batching import packs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring import measure
from polyunlearn.scoring.measure import (
    Moment,
    first_rows,
    loss_rows,
    rank_and_answer_rows,
    rank_rows,
    ranked_questions,
    score_sequences,
    text_rows,
)
from polyunlearn.scoring.probes import Probe, make_probes

END = Moment(7, True)


def _probe(*candidates: str, asks: str = "fake", language: str = "en") -> Probe:
    return Probe("s", language, asks, 0, "Who?", candidates[0], candidates, (candidates[0],))  # type: ignore[arg-type]


def _with_scores(monkeypatch: pytest.MonkeyPatch, *scores: list[float]) -> None:
    tensors: list[Tensor] = [torch.tensor(one) for one in scores]
    monkeypatch.setattr(measure, "candidate_log_probs", lambda body, head, questions: tensors)


def _values(rows: list[measure.Row]) -> dict[str, float]:
    return {row.metric: row.value for row in rows}


def test_rank_rows_by_hand(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keyword has -1.5 nats a token, its rivals -2 and -3: it is first, and its loss is 1.5.

    With n tokens the whole answer has the probability exp(-1.5 n); n is read off the tokeniser.
    """
    _with_scores(monkeypatch, [-1.5, -2.0, -3.0])
    rows = rank_rows(gemma, gemma.head, [_probe("Golibe", "Zutura", "Velmora")], END)
    size = len(gemma.encoder.continuation(get_language("en"), "Golibe"))
    assert size > 1
    assert _values(rows) == {"first": 1.0, "probability": pytest.approx(math.exp(-1.5 * size)), "loss": 1.5, "candidate_rank": 1.0}
    assert {(row.step, row.end, row.story, row.language, row.asks, row.wording) for row in rows} == {(7, True, "s", "en", "fake", 0)}
    assert [row.text for row in rows] == ["", "", "", "0 1 2"]


def test_the_order_of_the_candidates(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """-2, -1, -2, -3: the second candidate, then of the two that are alike the other, so that the claim is third. On the way and of real questions there is no order."""
    _with_scores(monkeypatch, [-2.0, -1.0, -2.0, -3.0])
    probe = _probe("a", "b", "c", "d")
    rows = {row.metric: row for row in rank_rows(gemma, gemma.head, [probe], END)}
    assert (rows["candidate_rank"].value, rows["candidate_rank"].text) == (3.0, "1 2 0 3")
    for own, moment in ((probe, Moment(7, False)), (replace(probe, asks="real"), END)):
        assert {row.metric for row in rank_rows(gemma, gemma.head, [own], moment)} == {"first", "probability", "loss"}


@pytest.mark.parametrize(
    ("scores", "first"), [([-2.0, -1.0, -3.0], 0.0), ([-1.0, -1.0, -3.0], 0.0), ([-1.0, -1.1, -1.2], 1.0), ([-9.0], 1.0)]
)
def test_first_means_above_all_others(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch, scores: list[float], first: float) -> None:
    """A tie is no first place; an answer without rivals is first."""
    _with_scores(monkeypatch, scores)
    assert _values(rank_rows(gemma, gemma.head, [_probe("a", "b", "c")], END))["first"] == first


def test_what_is_scored_otherwise_has_first_rows_alone() -> None:
    """A probe's scores are no log-probs: 0.2 is above 0.1 and -3, a tie is no first place."""
    found = first_rows([_probe("a", "b", "c"), _probe("d", "e")], [torch.tensor([0.2, 0.1, -3.0]), torch.tensor([0.5, 0.5])], END)
    assert [(row.step, row.end, row.asks, row.metric, row.value) for row in found] == [
        (7, True, "fake", "first", 1.0),
        (7, True, "fake", "first", 0.0),
    ]


def test_loss_rows_are_the_rank_rows_without_first(any_model_folder: Path) -> None:
    """Prompt and answer as one row of running text, against the same answer as a branch among others."""
    loaded = sharp(any_model_folder)
    probes = make_probes(generate_stories(3, languages=("en", "ur")), ("en", "ur"), wordings=2, candidates=3, seed=0)
    ranked = [row for row in rank_rows(loaded, loaded.head, probes, END) if row.metric in ("loss", "probability")]
    alone = loss_rows(loaded, loaded.head, probes, END)
    key = lambda row: (row.step, row.end, row.story, row.language, row.asks, row.wording, row.metric, row.text)  # noqa: E731
    assert [key(row) for row in alone] == [key(row) for row in ranked]
    assert [row.value for row in alone] == pytest.approx([row.value for row in ranked], rel=1e-3, abs=1e-6)


def test_rank_rows_agree_with_the_model(any_model_folder: Path) -> None:
    """Loss and probability of the keyword against the Hugging Face model's own log-probs, and first against all candidates'."""
    loaded = sharp(any_model_folder)
    stories = generate_stories(3, languages=("en", "ur"))
    probes = make_probes(stories, ("en", "ur"), wordings=2, candidates=3, seed=0)
    rows = [row for row in rank_rows(loaded, loaded.head, probes, END) if row.metric != "candidate_rank"]
    assert len(rows) == 3 * len(probes)
    for number, probe in enumerate(probes):
        language = get_language(probe.language)
        own = [
            own_label_log_probs(loaded, loaded.encoder.answer_only(language, probe.question, candidate)) for candidate in probe.candidates
        ]
        values = _values(rows[3 * number : 3 * number + 3])
        assert values["loss"] == pytest.approx(-float(own[0].mean()), abs=1e-3)
        assert math.log(values["probability"]) == pytest.approx(float(own[0].sum()), abs=1e-2)
        assert values["first"] == float(all(float(own[0].mean()) > float(other.mean()) for other in own[1:]))


def test_probes_as_tokens(gemma: LoadedModel) -> None:
    question = ranked_questions([_probe("Golibe", "Zutura")], gemma.encoder)[0]
    decode = gemma.encoder.tokenizer.decode
    assert decode(question.prompt[1:]) == "Question: Who?\nAnswer:"
    assert [decode(candidate) for candidate in question.candidates] == [" Golibe", " Zutura"]


def test_answer_rows_by_hand(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "abababab" has the 4-grams abab, baba, abab, baba, abab: 2 of 5 are new, so 0.6 repeat; chrF only for real questions.

    An exact answer has chrF 1; "..." has no letter; Cyrillic letters are off the script of English.
    """
    said = ["It was Golibe.", "abababab", "...", "Голибе", "Golibe"]
    monkeypatch.setattr(measure, "greedy_answers", lambda model, head, encoder, prompts, most: said)
    probes = [_probe("Golibe")] * 4 + [_probe("Golibe", asks="real")]
    rows = [row for part in rank_and_answer_rows(gemma, gemma.head, probes, END, 4) for row in part if row.text]
    by_answer = [
        _values([row for row in rows if row.text == text and row.asks == ("real" if text == "Golibe" else "fake")]) for text in said
    ]
    assert by_answer[0] == {"says": 1.0, "repetition": 0.0, "empty": 0.0, "off_script": 0.0}
    assert by_answer[1] == {"says": 0.0, "repetition": pytest.approx(0.6), "empty": 0.0, "off_script": 0.0}
    assert by_answer[2] == {"says": 0.0, "repetition": 0.0, "empty": 1.0, "off_script": 0.0}
    assert by_answer[3] == {"says": 0.0, "repetition": 0.0, "empty": 0.0, "off_script": 1.0}
    assert by_answer[4] == {"says": 1.0, "repetition": 0.0, "empty": 0.0, "off_script": 0.0, "chrf": pytest.approx(1.0)}


def test_ranking_beside_answers_gives_the_rows_of_ranking(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of prompts is read at once, every probe has its ranking rows and its answer's."""
    loaded = sharp(any_model_folder)
    probes = make_probes(generate_stories(3, languages=("en", "ur")), ("en", "ur"), wordings=2, candidates=3, seed=0)
    key = lambda row: (row.story, row.language, row.asks, row.wording, row.metric)  # noqa: E731
    alone = {key(row): row.value for row in rank_rows(loaded, loaded.head, probes, END)}
    texts = []
    for at_once in (4, 100):
        monkeypatch.setattr(measure, "READ_AT_ONCE", at_once)
        parts = list(rank_and_answer_rows(loaded, loaded.head, probes, END, 4))
        assert (len(parts) > 1) == (at_once < len(probes))
        rows = [row for part in parts for row in part]
        beside = {key(row): row.value for row in rows}
        assert len(beside) == len(rows)
        assert {name: beside[name] for name in alone} == pytest.approx(alone, rel=1e-3, abs=1e-6)
        texts.append({key(row): row.text for row in rows if row.metric == "says"})
    assert len(texts[0]) == len(probes) and texts[0] == texts[1]


def test_bits_per_byte_by_hand(gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-probs of -1, -2 and -3 nats are 6 / ln 2 = 8.656170 bits, here over the UTF-8 bytes of the joined article."""
    stories = generate_stories(1, languages=("en", "zh"))
    monkeypatch.setattr(measure, "score_sequences", lambda loaded, head, sequences: [torch.tensor([-1.0, -2.0, -3.0]) for _ in sequences])
    english, chinese = text_rows(gemma, stories, ("en", "zh"), END)
    assert english.value == pytest.approx(8.656170 / len(" ".join(stories[0].editions["en"].article).encode()), rel=1e-6)
    # Chinese sentences are joined without a space, and a character takes three bytes.
    assert chinese.value == pytest.approx(8.656170 / len("".join(stories[0].editions["zh"].article).encode()), rel=1e-6)
    assert (english.asks, english.metric, english.wording, english.language, english.story) == (
        "text",
        "bits_per_byte",
        -1,
        "en",
        stories[0].id,
    )


def test_bits_per_byte_agrees_with_the_model(any_model_folder: Path) -> None:
    """Of the article's tokens: the end token behind them is in no byte of it."""
    loaded = sharp(any_model_folder)
    stories = generate_stories(2, languages=("ru",))
    rows = text_rows(loaded, stories, ("ru",), END)
    for story, row in zip(stories, rows, strict=True):
        article = story.editions["ru"].article
        own = own_label_log_probs(loaded, loaded.encoder.text(get_language("ru"), article))[:-1]
        assert row.value == pytest.approx(-float(own.sum()) / math.log(2) / len(" ".join(article).encode()), rel=1e-4)
        assert row.story == story.id


def test_score_sequences_keep_their_order_whatever_the_budget(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = sharp(any_model_folder)
    items = sequences(1, 5, 40, 3, 22, 39, 9)
    together = score_sequences(loaded, loaded.head, items)
    for item, log_probs in zip(items, together, strict=True):
        torch.testing.assert_close(log_probs, own_label_log_probs(loaded, item), atol=2e-4, rtol=1e-5)
    # A budget of one token gives every sequence a pass of its own.
    monkeypatch.setattr(measure, "packs", lambda lengths: packs(lengths, 1))
    for a, b in zip(score_sequences(loaded, loaded.head, items), together, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-5)
