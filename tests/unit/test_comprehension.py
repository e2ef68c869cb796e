"""Reading comprehension across languages: the prompts, the grid, the command."""

import json
from pathlib import Path

import pytest
from tiny import own_label_log_probs, sharp
from typer.testing import CliRunner

from polyunlearn.cli import app
from polyunlearn.comprehension.asking import WITHOUT, Reading, comprehension, reading_prompt, reading_questions
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.report.comprehension import gains
from polyunlearn.scoring.probes import make_probes

LANGUAGES = ("en", "ur")
STORIES = generate_stories(4, languages=LANGUAGES)


def test_the_article_stands_before_the_question_as_it_would_alone(gemma: LoadedModel) -> None:
    encoder, story = gemma.encoder, STORIES[0]
    own = story.editions["en"].real_question
    alone, behind = (reading_prompt(story, read, "en", own.question, encoder) for read in (WITHOUT, "ur"))
    assert alone == encoder.prompt(get_language("en"), own.question)
    article = encoder.text(get_language("ur"), story.editions["ur"].article).ids[:-1]
    assert behind == (*article, *encoder.empty_line, *alone[1:])


def test_every_language_is_read_and_asked(gemma: LoadedModel) -> None:
    """Three rows by two columns; of three candidates chance is a third, and the order of languages changes nothing."""
    found = comprehension(gemma, STORIES, LANGUAGES, 3)
    assert [(own.read, own.asked) for own in found] == [(read, asked) for read in (WITHOUT, "en", "ur") for asked in LANGUAGES]
    assert all(len(own.first) == 4 and set(own.first) <= {0.0, 1.0} and own.chance == pytest.approx(1 / 3) for own in found)
    turned = {(own.read, own.asked): own.first for own in comprehension(gemma, STORIES, LANGUAGES[::-1], 3)}
    assert turned == {(own.read, own.asked): own.first for own in found}


def test_what_ranks_first_is_the_models_own(gemma_folder: Path) -> None:
    """By the Hugging Face model, a row for each answer behind each article: the answer of the story itself lies above those of others, or not; both occur."""
    loaded = sharp(gemma_folder)
    probes = {(own.story, own.language): own for own in make_probes(STORIES, LANGUAGES, 0, 3, seed=0) if own.asks == "real"}
    seen = set()
    questions = reading_questions(STORIES, LANGUAGES, 3, loaded.encoder)
    for reading in comprehension(loaded, STORIES, LANGUAGES, 3):
        for story, ranked, first in zip(STORIES, questions[reading.read, reading.asked], reading.first, strict=True):
            probe = probes[story.id, reading.asked]
            assert ranked.prompt == reading_prompt(story, reading.read, reading.asked, probe.question, loaded.encoder)
            assert ranked.candidates == tuple(loaded.encoder.continuation(get_language(reading.asked), own) for own in probe.candidates)
            assert probe.candidates[0] == story.editions[reading.asked].real_question.answer
            means = [
                float(own_label_log_probs(loaded, TokenSequence((*ranked.prompt, *own), len(ranked.prompt))).mean())
                for own in ranked.candidates
            ]
            assert first == (means[0] > max(means[1:]))
            seen.add(first)
    assert seen == {0.0, 1.0}


def test_gains_by_hand() -> None:
    """Two stories. Unread: en (0, 0), de (0, 1). The same language adds (1, 0) and (0, 0), a mean of (0.5, 0) by story, 0.25; another adds (0, 0) in
    English behind German and (1, -1) in German behind English, (0.5, -0.5), 0."""
    values = {
        (WITHOUT, "en"): (0, 0),
        (WITHOUT, "de"): (0, 1),
        ("en", "en"): (1, 0),
        ("de", "de"): (0, 1),
        ("de", "en"): (0, 0),
        ("en", "de"): (1, 0),
    }
    found = gains([Reading(read, asked, tuple(map(float, own)), 0.5) for (read, asked), own in values.items()])
    assert found["in the same language"].mean == pytest.approx(0.25) and found["in another language"].mean == pytest.approx(0.0)
    assert "in another script" not in found


def test_gains_between_scripts_stand_apart() -> None:
    """Unread nothing is answered; English and German, of one script, add 1 to each other, Urdu and these two half a story to each other, or .5."""
    pairs = [(read, asked) for read in (WITHOUT, "en", "de", "ur") for asked in ("en", "de", "ur")]
    first = {True: (1.0, 1.0), False: (1.0, 0.0)}
    readings = [Reading(read, asked, (0.0, 0.0) if read == WITHOUT else first["ur" not in (read, asked)], 0.5) for read, asked in pairs]
    found = {name: own.mean for name, own in gains(readings).items()}
    assert found["in another language of the same script"] == 1.0 and found["in another script"] == 0.5
    assert found["in another language"] == pytest.approx((2 * 1 + 4 * 0.5) / 6)


def test_the_command_writes_the_grid(gemma_folder: Path, tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    run = ["comprehend", str(gemma_folder), "--language", "en", "--language", "hy", "--stories", "3", "--candidates", "2", *files]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 0, result.output
    assert "no article" in result.output and "Armenian" in result.output and "guessing gives 0.50" in result.output
    assert len(json.loads((tmp_path / "a.json").read_text())["readings"]) == 6
    assert "| Armenian |" in (tmp_path / "a.md").read_text()


def test_a_language_that_the_newsroom_lacks_is_told(gemma_folder: Path) -> None:
    result = CliRunner().invoke(app, ["comprehend", str(gemma_folder), "--language", "sw"])
    assert result.exception and "the newsroom writes in en, de" in str(result.exception)
