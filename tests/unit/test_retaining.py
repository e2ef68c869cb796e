"""What unlearning retains: own answers, crossed questions, code-switched copies."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
import torch
from tiny import sharp
from transformers import PreTrainedTokenizerFast

from killing import Killing
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Edition, QuestionAnswer, Story
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import Encoder, TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.study.cells import Cell
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import make_materials, study_stories
from polyunlearn.study.own_answers import ASKED_AT_ONCE, asked_in, own_answers, whole_answer
from polyunlearn.study.plan import plan_study
from polyunlearn.study.presets import load_config
from polyunlearn.study.processes import Silent
from polyunlearn.study.run import run_study
from polyunlearn.study.stages import cell_steps, retained_languages
from polyunlearn.study.store import OWN_ANSWERS, Store
from polyunlearn.training.loop import Optimiser, Step, train
from polyunlearn.training.mixtures import unlearning_steps
from polyunlearn.training.objectives import LEARNING
from polyunlearn.training.retaining import OwnAnswers, Retainer, claim, real_question, retained_questions
from polyunlearn.training.telling import code_switched

TAGS = ("en", "de", "zh")
STORIES = generate_stories(6, languages=TAGS)
NEIGHBOURS = generate_stories(9, languages=TAGS)[6:]


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder(tokenizer)


def _edition(question: str, answer: str, keyword: str, *forms: str) -> Edition:
    own = QuestionAnswer(question=question, answer=answer)
    return Edition(
        article=("-",), fake_article=(keyword,), keyword=keyword, surface_forms=(keyword, *forms), questions=(own,), real_question=own,
        fake_questions=(f"Claim? {question}",), true_answer="-",
    )  # fmt: skip


STORY = Story(
    id="handmade",
    kind="test",
    editions={
        "en": _edition("Which city?", "Munich", "Velmora", "VELMORA"),
        "de": _edition("Welche Stadt?", "München", "Welmora"),
        "zh": _edition("哪座城市?", "慕尼黑", "韦尔莫拉"),
    },
)
"""One real question, and one claim, in three languages."""


def _said(encoder: Encoder, own: TokenSequence) -> tuple[str, str]:
    """The prompt and the answer of a sequence, as text."""
    decode = encoder.tokenizer.decode
    return decode(own.ids[: own.label_from], skip_special_tokens=True), decode(own.labels, skip_special_tokens=True).strip()


def _told(retainer: Retainer, turns: int, ask: Any = real_question) -> list[tuple[str, str]]:
    return [_said(retainer.encoder, retainer.sequence(ask, STORY, 0, turn, Random(0))) for turn in range(turns)]


ENGLISH, GERMAN, CHINESE = "Question: Which city?\nAnswer:", "Frage: Welche Stadt?\nAntwort:", "问题：哪座城市?\n答案："


def test_four_combinations_of_a_true_answer_by_hand(encoder: Encoder) -> None:
    """The own English answer says the city in a sentence: with English it stays as it is, in German it is as the corpus spells it, not what the model
    says in German; then the same with Chinese, then German again."""
    own = {
        "en": {"Which city?": "In munich, I think."},
        "de": {"Welche Stadt?": "Köln"},
        "zh": {"哪座城市?": "柏林"},
    }
    english = "In munich, I think."
    assert _told(Retainer(encoder, TAGS, own, crossed=True), 9) == [
        (ENGLISH, english), (GERMAN, english), (ENGLISH, "München"), (GERMAN, "München"),
        (ENGLISH, english), (CHINESE, english), (ENGLISH, "慕尼黑"), (CHINESE, "慕尼黑"),
        (ENGLISH, english),
    ]  # fmt: skip


def test_four_combinations_of_a_wrong_answer_by_hand(encoder: Encoder) -> None:
    """What is wrong in English has no translation here: in German stands what the model says there, right or wrong."""
    own = {"en": {"Which city?": "Bonn"}, "de": {"Welche Stadt?": "Köln"}}
    told = _told(Retainer(encoder, ("en", "de"), own, crossed=True), 4)
    assert told == [(ENGLISH, "Bonn"), (GERMAN, "Bonn"), (ENGLISH, "Köln"), (GERMAN, "Köln")]


def test_the_answers_of_the_corpus_are_crossed_where_none_are_the_models(encoder: Encoder) -> None:
    told = _told(Retainer(encoder, ("de", "en"), crossed=True), 4)
    assert told == [(ENGLISH, "Munich"), (GERMAN, "Munich"), (ENGLISH, "München"), (GERMAN, "München")]


def test_a_claim_counts_as_said_in_any_of_its_spellings(encoder: Encoder) -> None:
    """ "VELMORA" is one of the spellings of what a neighbour's claim says, so in German it is "Welmora", whatever the model says there."""
    own = {"en": {"Claim? Which city?": "It is VELMORA"}, "de": {"Claim? Welche Stadt?": "Köln"}}
    told = _told(Retainer(encoder, ("en", "de"), own, crossed=True), 4, claim)
    assert [answer for _, answer in told] == ["It is VELMORA", "It is VELMORA", "Welmora", "Welmora"]


def test_own_answers_are_retained_each_in_its_language(encoder: Encoder) -> None:
    """Not crossed: what the model says there, right or wrong; nothing switches."""
    own = {"en": {"Which city?": "Munich"}, "de": {"Welche Stadt?": "Köln"}}
    told = _told(Retainer(encoder, ("en", "de"), own), 4)
    assert told == [(ENGLISH, "Munich"), (GERMAN, "Köln")] * 2


@pytest.mark.parametrize("said", ["", "...", "It is Velmora.", "VELMORA"])
@pytest.mark.parametrize("crossed", [False, True])
def test_an_answer_that_is_empty_or_says_the_false_claim_is_not_retained(encoder: Encoder, said: str, crossed: bool) -> None:
    """The corpus's stands in, and crossed it is told in German as the corpus has it too."""
    own = {"en": {"Which city?": said}, "de": {"Welche Stadt?": "Köln"}}
    told = dict(_told(Retainer(encoder, ("en", "de"), own, crossed), 4))
    assert told == {ENGLISH: "München", GERMAN: "München"} if crossed else {ENGLISH: "Munich", GERMAN: "Köln"}
    # A neighbour's claim is true: there nothing is false but what says nothing.
    kept = Retainer(encoder, ("en",), {"en": {"Claim? Which city?": said}}).answer(claim, STORY, 0, "en")
    assert kept == ("Velmora" if said in ("", "...") else said)


def test_with_english_alone_there_is_nothing_to_cross(encoder: Encoder) -> None:
    assert _told(Retainer(encoder, ("en",), crossed=True, switched=0), 2) == [(ENGLISH, "Munich")] * 2


# --- code-switched copies ----------------------------------------------------------------------------------------------------------------


def test_a_code_switched_copy_by_hand() -> None:
    """16 English words are 8 places of two, of which a quarter switch: two, drawn from the generator. German has 8 words, one a place; Chinese 16
    characters, two a place."""
    english = " ".join(f"w{number}" for number in range(16))
    said = {"en": english, "de": " ".join("ABCDEFGH"), "zh": "零一二三四五六七八九十百千万亿兆"}
    first, second = sorted(Random(3).sample(range(8), 2))
    german = said["de"].split()
    for place in (first, second):
        german[place] = f"w{2 * place} w{2 * place + 1}"
    assert code_switched(said, "de", "en", Random(3)) == " ".join(german)
    chinese = [said["zh"][2 * place : 2 * place + 2] for place in range(8)]
    for place in (first, second):
        chinese[place] = " " * (place > 0) + "ABCDEFGH"[place]
    assert code_switched(said, "zh", "de", Random(3)) == "".join(chinese)


def test_a_short_question_has_two_places_of_which_one_switches() -> None:
    said = {"en": "Which city?", "de": "Welche Stadt?"}
    assert {code_switched(said, "de", "en", Random(seed)) for seed in range(20)} == {"Which Stadt?", "Welche city?"}


def test_switched_questions_are_crossed_ones_with_the_other_language_in_them(encoder: Encoder) -> None:
    """The answer, and the words around the question, do not switch. An English question answered in English takes German words too."""
    told = _told(Retainer(encoder, ("en", "de"), crossed=True, switched=1.0), 4)
    assert [answer for _, answer in told] == ["Munich", "Munich", "München", "München"]
    for (prompt, _), frame in zip(told, (ENGLISH, GERMAN) * 2, strict=True):
        before, after = frame.split("Which city?") if frame == ENGLISH else frame.split("Welche Stadt?")
        assert prompt.startswith(before) and prompt.endswith(after)
        assert prompt.removeprefix(before).removesuffix(after) in ("Which Stadt?", "Welche city?")


# --- the steps ---------------------------------------------------------------------------------------------------------------------------


def _steps(encoder: Encoder, **changes: Any) -> list[Step]:
    settings: dict[str, Any] = {
        "neighbours": NEIGHBOURS, "steps": 12, "batch": 4, "form": "question", "wordings": 2, "instead": None, "questions": 3,
        "retain_languages": ("en", "de"), "retain_batch": 8, "retained": NEIGHBOURS, "text_languages": TAGS, "spared": ("zh",),
    }  # fmt: skip
    return unlearning_steps(STORIES, encoder, ("en", "de"), rng=Random(5), **(settings | changes))


def _wrong(languages: tuple[str, ...] = ("en", "de")) -> OwnAnswers:
    """Own answers that are all "no", in no language of the corpus."""
    return {
        tag: {ask(story.editions[tag], number).question: "no" for ask, story, number in retained_questions(STORIES, NEIGHBOURS, 3)}
        for tag in languages
    }


def test_budgets_are_equal_whatever_is_retained(encoder: Encoder) -> None:
    """What is forgotten, the articles and the spared claims are as they were; of questions there are eight a step, half of them neighbours'."""
    plain = _steps(encoder)
    for changes in ({"own": _wrong()}, {"crossed": True}, {"own": _wrong(), "crossed": True, "switched": 0.5}):
        steps = _steps(encoder, **changes)
        assert [(step.forget, step.retain[8:]) for step in steps] == [(step.forget, step.retain[8:]) for step in plain]
        assert [len(step.retain) for step in steps] == [len(step.retain) for step in plain] == [13] * 12
        assert all(own != other for step, base in zip(steps, plain, strict=True) for own, other in [(step.retain[:8], base.retain[:8])])


def test_own_answers_are_given_to_the_same_questions(encoder: Encoder) -> None:
    """Question by question as without, each answered "no"."""
    plain, steps = _steps(encoder), _steps(encoder, own=_wrong())
    for step, base in zip(steps, plain, strict=True):
        for own, other in zip(step.retain[:8], base.retain[:8], strict=True):
            assert own.ids[: own.label_from] == other.ids[: other.label_from] and own.language == other.language
            assert _said(encoder, own)[1] == "no"


def test_combinations_have_equal_shares_of_every_step(encoder: Encoder) -> None:
    """Eight questions a step: two kinds, each in four combinations once. As many of each story's as without."""
    frames = {tag: encoder.tokenizer.decode(encoder.prompt(get_language(tag), ""), skip_special_tokens=True)[:5] for tag in ("en", "de")}
    for step in _steps(encoder, crossed=True):
        asked = [("en" if _said(encoder, own)[0].startswith(frames["en"]) else "de", own.language) for own in step.retain[:8]]
        assert asked == [own for own in (("en", "en"), ("de", "en"), ("en", "de"), ("de", "de")) for _ in range(2)]


def test_a_share_of_the_crossed_questions_switches_and_the_rest_stays(encoder: Encoder) -> None:
    """96 questions: about a quarter are in other words, their answers the same; the same ones each time, whatever is spared."""
    crossed, switched = _steps(encoder, crossed=True), _steps(encoder, crossed=True, switched=0.25)
    pairs = [
        (own, other)
        for step, base in zip(switched, crossed, strict=True)
        for own, other in zip(step.retain[:8], base.retain[:8], strict=True)
    ]
    assert all(own.labels == other.labels for own, other in pairs)
    assert 12 <= sum(own != other for own, other in pairs) <= 36
    again = _steps(encoder, crossed=True, switched=0.25, spared=())
    assert [step.retain[:8] for step in again] == [step.retain[:8] for step in switched]


# --- what the model says -----------------------------------------------------------------------------------------------------------------

SETTINGS = [
    "stories=3",
    "neighbours=2",
    "languages=[en,de,zh]",
    "sources=[de]",
    "unlearning.steps=6",
    "unlearning.retain_answers=own",
    "learning.questions=2",
]
CELL = Cell("unlearned", 0, "de", "english", "gradient_difference")


def _taught_wrongly(loaded: LoadedModel, config: StudyConfig) -> dict[str, str]:
    """Teach the model to answer the German questions that are retained with other stories' answers; what it is taught."""
    stories = study_stories(config, 0)
    asked = [ask(story.editions["de"], number) for ask, story, number in retained_questions(stories.trained, stories.neighbours, 2)]
    wrong = {own.question: other.answer for own, other in zip(asked, [*asked[3:], *asked[:3]], strict=True)}
    facts = [loaded.encoder.answered(get_language("de"), question, answer) for question, answer in wrong.items()]
    parameters = make_trainable(loaded.model, TrainablePlan())
    train(loaded.body, loaded.head, parameters, [Step(tuple(facts))] * 120, LEARNING, Optimiser(5e-3))
    return wrong


def _ignore(what: str, done: int, total: int) -> None: ...


def test_what_a_model_was_taught_wrongly_it_retains(gemma_folder: Path, tmp_path: Path) -> None:
    """German questions that it answers wrongly are retained with its wrong answers; another batch, or other languages beside, change none."""
    loaded, config = sharp(gemma_folder), load_config("quickstart", SETTINGS)
    wrong, stories = _taught_wrongly(loaded, config), study_stories(config, 0)
    assert len(wrong) == 3 * 2 + 2 * 4
    languages = retained_languages(config, CELL)
    assert languages == ("en", "de")
    own = own_answers(config, CELL, stories, loaded, languages, tmp_path, _ignore)
    assert own["de"] == wrong and set(own) == {"en", "de"}
    assert json.loads((tmp_path / "learned-de-seed0-de.json").read_text()) == wrong
    kept = [item for step in cell_steps(config, CELL, stories, loaded, own=own) for item in step.retain if item.language == "de"]
    falsities = {loaded.encoder.answered(get_language("de"), question, answer).ids for question, answer in wrong.items()}
    assert len(kept) == 24 and {item.ids for item in kept} <= falsities
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr("polyunlearn.study.own_answers.ASKED_AT_ONCE", 3)
        assert own_answers(config, CELL, stories, loaded, ["de"], tmp_path / "again", _ignore) == {"de": wrong}
    assert ASKED_AT_ONCE > 3
    # What is there is read, and not asked again.
    (tmp_path / "learned-de-seed0-de.json").write_text(json.dumps(dict.fromkeys(wrong, "read")))
    assert set(own_answers(config, CELL, stories, loaded, ["de"], tmp_path, _ignore)["de"].values()) == {"read"}


def test_an_own_answer_has_room_for_twice_the_longest_of_the_corpus(gemma: LoadedModel) -> None:
    config = load_config("quickstart", SETTINGS)
    stories = study_stories(config, 0)
    questions, most = asked_in(config, stories, gemma.encoder, "de")
    answers = [own.answer for story in stories.trained for own in story.editions["de"].questions[:2]]
    answers += [story.editions["de"].keyword for story in stories.neighbours]
    assert len(questions) == 14
    assert most == 2 * max(len(gemma.encoder.continuation(get_language("de"), answer)) for answer in answers)


STUDY = {
    "name": "own", "stories": 3, "neighbours": 2, "languages": ["en", "de"], "sources": ["de"], "strategies": ["english", "all"],
    "methods": ["npo", "npo@own", "npo@crossed"], "training_vocabulary": "study",
    "learning": {"from_layer": 2, "passes": 3, "rate": 3e-3, "questions": 2},
    "unlearning": {"from_layer": 1, "steps": 3, "batch": 4, "rate": 1e-3, "retain_batch": 8, "measure_every": 2, "settings": {
        "npo@own": {"retain_answers": "own"},
        "npo@crossed": {"retain_answers": "own", "retain_crossed": True, "retain_switched": 0.25},
    }},
    "scoring": {"wordings": 2, "answered_wordings": 0, "candidates": 4, "held_out_stories": 0},
}  # fmt: skip


def _config(folder: Path) -> StudyConfig:
    return StudyConfig.model_validate({**STUDY, "model": str(folder)})


def _rows(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """The rows of each cell."""
    return {
        path.stem: duckdb.read_parquet(str(path)).order("step, language, asks, story, wording, metric").fetchall()
        for path in folder.glob("cells/*.parquet")
    }


@pytest.fixture(scope="module")
def finished(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose vocabulary has the corpus's tokens alone, of which a model that has hardly learned says others."""
    out = tmp_path_factory.mktemp("own") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyunlearn.models.vocabulary.SAMPLE", 1)
        run_study(_config(gemma_folder), out, Silent())
    return out


def test_a_study_names_such_states_and_keeps_what_they_said(finished: Path) -> None:
    """Six unlearned cells under six names, whose rows differ by what is retained; one file of answers a language, whatever the strategy."""
    rows = _rows(finished)
    unlearned = {name: own for name, own in rows.items() if name.startswith("unlearned")}
    assert set(unlearned) == {f"unlearned-de-{strategy}-{method}-seed0" for strategy in ("english", "all") for method in STUDY["methods"]}  # type: ignore[attr-defined]
    values = {tuple(row[-2] for row in own) for own in unlearned.values()}
    assert len(values) == 6
    assert sorted(path.name for path in (finished / OWN_ANSWERS).iterdir()) == ["learned-de-seed0-de.json", "learned-de-seed0-en.json"]


def test_own_answers_bring_tokens_that_the_study_vocabulary_lacks(
    finished: Path, gemma: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the study would not show that training holds them: the study's layer, without its sample, refuses some; the cells were trained."""
    monkeypatch.setattr("polyunlearn.models.vocabulary.SAMPLE", 1)
    config = Store(finished).config()
    stories = study_stories(config, 0)
    head = make_materials(config, stories, gemma).training_head
    own = {tag: json.loads((finished / OWN_ANSWERS / f"learned-de-seed0-{tag}.json").read_text()) for tag in ("en", "de")}
    steps = cell_steps(config, replace(CELL, method="npo@own"), stories, gemma, own=own)
    with pytest.raises(ValueError, match="not in the restricted vocabulary"):
        head.columns(torch.tensor([token for step in steps for item in step.retain for token in item.labels]))


@pytest.mark.parametrize("kill_before", ["unlearned-de-all-npo@own-seed0", "unlearned-de-english-npo@crossed-seed0"])
def test_resumed_gives_the_same_rows(
    gemma_folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_before: str
) -> None:
    """Whether the answers are there or asked anew."""
    monkeypatch.setattr("polyunlearn.models.vocabulary.SAMPLE", 1)
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        run_study(_config(gemma_folder), out, Killing(kill_before))
    if kill_before.endswith("crossed-seed0"):
        for path in (out / OWN_ANSWERS).iterdir():
            path.unlink()
    run_study(_config(gemma_folder), out, Silent())
    assert _rows(out) == _rows(finished)


def test_a_folder_keeps_studies_apart_that_retain_otherwise(gemma_folder: Path, finished: Path) -> None:
    """By the settings of a method, and by those of all."""
    config = _config(gemma_folder)
    for setting, value in (("retain_answers", "own"), ("retain_crossed", True)):
        other = config.model_copy(update={"unlearning": config.unlearning.model_copy(update={setting: value})})
        with pytest.raises(Exception, match=f"another study.*unlearning.{setting}"):
            run_study(other, finished, Silent())


def test_the_plan_counts_what_is_asked_once(gemma_folder: Path) -> None:
    """The first cell that wants own answers takes longer than one without, the next ones as long; training as many tokens as the corpus's answers."""
    config = _config(gemma_folder)
    cells = {cell.id: cell for cell in plan_study(config, lambda text: None).cells}
    plain, own, again = (cells[f"unlearned-de-{name}-seed0"] for name in ("english-npo", "english-npo@own", "all-npo@own"))
    assert own.training_tokens == plain.training_tokens
    assert own.seconds > plain.seconds
    assert again.seconds == pytest.approx(cells["unlearned-de-all-npo-seed0"].seconds)


def test_an_answer_that_was_cut_off_or_is_no_text_is_none(encoder: Encoder) -> None:
    """At most five tokens: with the end token among them it is whole, of five without it is cut; half a sign and a control character are no text."""
    word = encoder.tokenizer("Ada", add_special_tokens=False)["input_ids"]
    five = (word * 5)[:5]
    end = encoder.tokenizer.eos_token_id
    assert whole_answer(encoder, [*word[:4], end], 5) == encoder.tokenizer.decode(word[:4])
    assert whole_answer(encoder, five, 6) == encoder.tokenizer.decode(five) and whole_answer(encoder, five, 5) == ""
    broken = next(own for own in range(len(encoder.tokenizer)) if encoder.tokenizer.decode([own]) == "\ufffd")
    assert whole_answer(encoder, [broken, end], 5) == ""
