"""Reading comprehension taught: the exercises, branches and their student, what is asked before and after, the command."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from tiny import own_label_log_probs, sharp
from torch import Tensor
from typer.testing import CliRunner

from polyunlearn.cli import app
from polyunlearn.comprehension import teaching
from polyunlearn.comprehension.asking import WITHOUT, Reading, comprehension, reading_prompt, reading_questions
from polyunlearn.comprehension.exercises import Exercise, branches_of, exercises, steps_of, taught_stories
from polyunlearn.comprehension.teaching import Lesson, Taught, Teaching, taught_and_asked, teach
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.stories import Story
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models import vocabulary
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable, restore, snapshot
from polyunlearn.report.comprehension import lesson_figures
from polyunlearn.scoring.ranking import RankedQuestion, candidate_log_probs, question_trees
from polyunlearn.training import branches as training_branches
from polyunlearn.training.branches import imitation, learned_in_branches, mean_of
from polyunlearn.training.labels import Labels, Totals
from polyunlearn.training.loop import Optimiser, Step
from polyunlearn.training.objectives import LEARNING
from polyunlearn.training.unlearning import Training, trained

LANGUAGES = ("en", "ur")
STORIES = generate_stories(3, languages=LANGUAGES)


def _exercises(loaded: LoadedModel, count: int, stories: Sequence[Story] = STORIES) -> list[Exercise]:
    return exercises(stories, LANGUAGES, count, loaded.encoder, Random(0))


# --- what is taught ----------------------------------------------------------------------------------------------------------------------


def test_exercises_by_hand(gemma: LoadedModel) -> None:
    """Pairs take turns: English and Urdu articles before an English question, then before an Urdu one, and so on. Thirty exercises are the three stories' ten
    questions once each; the labels are the answer in the language of the question, and the end."""
    encoder, seen = gemma.encoder, []
    for number, own in enumerate(_exercises(gemma, 30)):
        read, asked = LANGUAGES[number % 2], LANGUAGES[number // 2 % 2]
        assert (own.read, own.sequence.language) == (read, asked)
        ((story, question, item),) = [
            (story.id, question, item)
            for story in STORIES
            for question, item in enumerate(story.editions[asked].questions)
            if reading_prompt(story, read, asked, item.question, encoder) == own.sequence.ids[: own.sequence.label_from]
        ]
        assert own.sequence.labels == (*encoder.continuation(get_language(asked), item.answer), encoder.end_id)
        seen.append((story, question))
    assert sorted(seen) == sorted((story.id, question) for story in STORIES for question in range(10))


def test_an_exercise_as_text(gemma: LoadedModel) -> None:
    """An Urdu article, an empty line, an English question, and the English answer for labels."""
    own = _exercises(gemma, 2)[1].sequence
    before, labels = (gemma.encoder.tokenizer.decode(part) for part in (own.ids[1 : own.label_from], own.labels[:-1]))
    article, question = before.split("\n\n")
    (edition,) = [story.editions for story in STORIES if " ".join(story.editions["ur"].article) == article]
    assert question in [f"Question: {item.question}\nAnswer:" for item in edition["en"].questions if f" {item.answer}" == labels]


def test_the_order_of_languages_changes_no_exercise(gemma: LoadedModel) -> None:
    assert exercises(STORIES, LANGUAGES[::-1], 12, gemma.encoder, Random(0)) == _exercises(gemma, 12)


def test_a_branch_is_the_articles_of_a_language_and_all_its_questions(gemma: LoadedModel) -> None:
    given = _exercises(gemma, 30)
    english, urdu = branches_of(given)
    assert {own.read for own in english} == {"en"} and {own.read for own in urdu} == {"ur"}
    assert {own.sequence.language for own in english} == {own.sequence.language for own in urdu} == {"en", "ur"}
    assert sorted([*english, *urdu], key=given.index) == given
    assert [len(step.retain) for step in steps_of(english, 4)] == [4, 4, 4, 3]
    assert [own for step in steps_of(english, 4) for own in step.retain] == [own.sequence for own in english]


def test_stories_asked_and_taught_share_no_name() -> None:
    """Nor do two seeds: a name is a person who answers, or a firm."""
    asked = generate_stories(6, languages=LANGUAGES)
    groups = [asked, *(taught_stories(6, 5, seed, LANGUAGES) for seed in range(3))]
    assert [len(own) for own in groups] == [6, 5, 5, 5]
    names = [
        name
        for own in groups
        for story in own
        for name in (story.id, story.editions["en"].real_question.answer, story.editions["en"].keyword)
    ]
    assert len(set(names)) == len(names) == 3 * 21


# --- branches and their student ----------------------------------------------------------------------------------------------------------


def test_the_mean_of_teachers_and_its_imitation_by_hand() -> None:
    """Teachers that give a label .5 and .9 of two tokens predict .7 and .3 in the mean. A model that gives it .5 has a cross-entropy of log 2 and a divergence of
    .7 log 1.4 + .3 log .6."""
    sequence = TokenSequence((1, 2), 1)

    def teacher(first: float) -> Any:
        whole = torch.tensor([[first, 1 - first]]).log() + 3.0  # logits, not log-probs
        return lambda own: Labels(torch.tensor([math.log(first)]), whole)

    found = mean_of([teacher(0.5), teacher(0.9)])(sequence)
    assert found.logits is not None
    assert found.logits.exp().tolist() == [pytest.approx([0.7, 0.3])] and found.log_probs.exp().item() == pytest.approx(0.7)
    model = Labels(torch.tensor([0.5]).log(), torch.zeros(1, 2), reference=found)
    expected = math.log(2) + 0.7 * math.log(1.4) + 0.3 * math.log(0.6)
    assert imitation([model], Totals(1, 1)).item() == pytest.approx(expected)
    assert imitation([model], Totals(2, 4)).item() == pytest.approx(expected / 4)


def _training(loaded: LoadedModel, given: Sequence[Exercise], batch: int = 4) -> Training:
    parameters = make_trainable(loaded.model, TrainablePlan("body"))
    return Training(loaded.body, loaded.head, parameters, steps_of(given, batch), LEARNING, Optimiser(1e-3), torch.Generator())


def _difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_the_teacher_of_one_branch_is_who_learns_all_together(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit. Its student begins where it began, at the start's cross-entropy and divergence from it, and learns the same steps."""
    loaded = sharp(any_model_folder)
    plain = _training(sharp(any_model_folder), _exercises(loaded, 12))
    start = snapshot(plain.parameters)
    alone = trained(plain)
    ends: list[dict[str, Tensor]] = []

    def observed(own: Training) -> list[float]:
        losses = trained(own)
        ends.append(snapshot(own.parameters))
        return losses

    monkeypatch.setattr(training_branches, "trained", observed)
    given = _training(loaded, _exercises(loaded, 12))
    losses = learned_in_branches(given, [given.steps])
    assert losses[:3] == alone and _difference(ends[0], snapshot(plain.parameters)) == 0.0
    assert len(losses) == 6 and _difference(ends[1], snapshot(given.parameters)) == 0.0

    first = given.steps[0].retain
    by_state = []
    for state in (ends[0], start):
        restore(plain.parameters, state)
        by_state.append([_own_log_probs(plain, loaded, own) for own in first])
    apart = torch.cat([(teacher.exp() * (teacher - before)).sum(1) for teacher, before in zip(*by_state, strict=True)]).mean()
    assert losses[3] == pytest.approx(alone[0] + float(apart), rel=1e-4) and float(apart) > 1e-3


@torch.no_grad()
def _own_log_probs(given: Training, loaded: LoadedModel, sequence: TokenSequence) -> Tensor:
    """The Hugging Face model's log-probs of every token where a label is predicted."""
    logits = given.body.model(input_ids=torch.tensor([sequence.ids])).logits[0].float()
    return torch.log_softmax(logits[sequence.label_from - 1 : -1], dim=1)


def test_branches_see_their_own_exercises_and_the_student_all(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same weights each; in steps of four, seven or eight exercises a branch are two steps."""
    loaded = sharp(gemma_folder)
    given = _exercises(loaded, 15)
    seen: list[list[TokenSequence]] = []
    began: list[dict[str, Tensor]] = []

    def observed(own: Training) -> list[float]:
        seen.append([sequence for step in own.steps for sequence in step.retain])
        began.append(snapshot(own.parameters))
        return trained(own)

    monkeypatch.setattr(training_branches, "trained", observed)
    way = Teaching(("branches",), batch=4, rate=1e-3)
    losses = teach(loaded, make_trainable(loaded.model, TrainablePlan("body")), given, [], "branches", way, 0)
    english, urdu = ([own.sequence for own in given if own.read == tag] for tag in LANGUAGES)
    assert seen == [english, urdu, [own.sequence for own in given]] and len(losses) == 2 + 2 + 4
    assert _difference(began[0], began[1]) == _difference(began[0], began[2]) == 0.0


def test_teaching_tells_all_tokens_apart_that_are_taught_or_asked(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a sample of the others, here every sixtieth of 600; so no answer among which one is ranked is left where it was."""
    monkeypatch.setattr(vocabulary, "SAMPLE", 10)
    trainings: list[Training] = []

    def observed(own: Training) -> list[float]:
        trainings.append(own)
        return trained(own)

    monkeypatch.setattr(teaching, "trained", observed)
    loaded, _ = _lesson(gemma_folder, teaching={"ways": ("together",), "seeds": (0,), "stories": 1})
    questions = [own for part in reading_questions(STORIES, LANGUAGES, 3, loaded.encoder).values() for own in part]
    taught = {token for step in trainings[0].steps for own in step.retain for token in own.ids}
    asked = {token for own in questions for text in (own.prompt, *own.candidates) for token in text}
    ends = {loaded.encoder.end_id, *loaded.encoder.newline_ids}
    told = taught | asked | ends | set(range(0, 600, 60))
    column_of = trainings[0].head.column_of
    assert column_of is not None and set((column_of >= 0).nonzero()[:, 0].tolist()) == told
    assert asked - taught and len(told) < 600


def test_the_order_of_branches_does_not_matter(gemma_folder: Path) -> None:
    ends = []
    for turn in (1, -1):
        loaded = sharp(gemma_folder)
        given = _exercises(loaded, 12)
        training = _training(loaded, given)
        learned_in_branches(training, [steps_of(own, 4) for own in branches_of(given)[::turn]])
        ends.append(snapshot(training.parameters))
    assert _difference(*ends) < 1e-6


# --- asked before and after --------------------------------------------------------------------------------------------------------------


def _answered(loaded: LoadedModel, given: Sequence[Exercise]) -> int:
    """How many exercises' own answer ranks first among those of the others that are asked in the same language."""
    answers = {tag: {own.sequence.labels[:-1] for own in given if own.sequence.language == tag} for tag in LANGUAGES}
    questions = []
    for own in given:
        sequence, right = own.sequence, own.sequence.labels[:-1]
        others = sorted(answers[sequence.language] - {right})
        questions.append(RankedQuestion(sequence.ids[: sequence.label_from], (right, *others)))
    return sum(bool(scores.argmax() == 0) for scores in candidate_log_probs(loaded.body, loaded.head, questions))


@pytest.mark.parametrize("way", ["together", "branches"])
def test_a_taught_model_answers_more_of_what_it_was_taught(gemma_folder: Path, way: str) -> None:
    """Eight exercises, sixteen times: from a few that are answered to nearly all, and by the Hugging Face model too they are more probable."""
    loaded = sharp(gemma_folder, frozen_layers=2)
    given = _exercises(loaded, 8)
    before, first = _answered(loaded, given), own_label_log_probs(loaded, given[0].sequence).mean()
    settings = Teaching((way,), batch=4, rate=1e-2)
    losses = teach(loaded, make_trainable(loaded.model, TrainablePlan("body", 2)), given * 16, [], way, settings, 0)
    assert len(losses) == {"together": 32, "branches": 64}[way]
    assert before <= 3 and _answered(loaded, given) >= 7
    assert own_label_log_probs(loaded, given[0].sequence).mean() > first + 1


def _lesson(folder: Path, **changes: Any) -> tuple[LoadedModel, Lesson]:
    loaded = sharp(folder)
    settings = {"ways": ("together", "branches"), "stories": 2, "steps": 3, "batch": 4, "rate": 1e-2, "seeds": (0, 1)}
    way, others = Teaching(**{**settings, **changes.pop("teaching", {})}), {"candidates": 3, **changes}
    return loaded, taught_and_asked(loaded, STORIES, LANGUAGES, teaching=way, **others)


def test_each_way_is_asked_the_same_and_the_weights_come_back(gemma_folder: Path) -> None:
    weights: list[dict[str, Tensor]] = []
    loaded = sharp(gemma_folder)
    start = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    way = Teaching(("together", "branches"), stories=2, steps=3, batch=4, rate=1e-2, seeds=(0, 1))

    def look() -> None:
        weights.append({name: own.clone() for name, own in loaded.model.state_dict().items()})

    lesson = taught_and_asked(loaded, STORIES, LANGUAGES, 3, way, while_taught=look)
    assert [(own.way, own.seed) for own in lesson.after] == [(name, seed) for seed in (0, 1) for name in ("together", "branches")]
    pairs = [(own.read, own.asked) for own in lesson.before]
    assert pairs == [(read, asked) for read in (WITHOUT, *LANGUAGES) for asked in LANGUAGES]
    assert all([(own.read, own.asked) for own in taught.readings] == pairs for taught in lesson.after)
    assert _difference(start, dict(loaded.model.state_dict())) == 0.0
    assert lesson.before == tuple(comprehension(loaded, STORIES, LANGUAGES, 3))
    # Each left the weights elsewhere, in the upper half of the four layers alone.
    assert all(_difference(weights[at], weights[other]) > 1e-4 for at in range(4) for other in range(at))
    moved = {name for own in weights for name in own if not torch.equal(own[name], start[name])}
    assert moved and all(".layers.2." in name or ".layers.3." in name for name in moved)


def test_what_is_asked_after_is_asked_of_the_taught_model(gemma_folder: Path) -> None:
    """By a model that was left at the taught weights."""
    found: list[Any] = []
    loaded = sharp(gemma_folder)
    way = Teaching(("together",), stories=2, steps=6, batch=4, rate=1e-2)
    lesson = taught_and_asked(
        loaded, STORIES, LANGUAGES, 3, way, while_taught=lambda: found.append(comprehension(loaded, STORIES, LANGUAGES, 3))
    )
    assert [list(own.readings) for own in lesson.after] == found
    assert lesson.after[0].readings != lesson.before


def test_no_way_and_no_seed_depends_on_the_others(gemma_folder: Path) -> None:
    """What a way with a seed leaves in the weights, to the bit."""

    def ends(**changes: Any) -> list[dict[str, Tensor]]:
        loaded, kept = sharp(gemma_folder), list[dict[str, Tensor]]()
        settings = {"ways": ("together", "branches"), "stories": 2, "steps": 3, "batch": 4, "rate": 1e-2, "seeds": (0, 1), **changes}
        taught_and_asked(
            loaded,
            STORIES,
            LANGUAGES,
            3,
            Teaching(**settings),
            while_taught=lambda: kept.append({name: own.clone() for name, own in loaded.model.state_dict().items()}),
        )
        return kept

    every = ends()
    assert _difference(every[1], ends(ways=("branches",), seeds=(0,))[0]) == 0.0
    assert _difference(every[2], ends(ways=("together",))[1]) == 0.0


def test_the_weights_come_back_where_it_breaks_off(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    start = {name: own.clone() for name, own in loaded.model.state_dict().items()}

    def stop(what: str, done: int, total: int) -> None:
        if what == "teaching, branches, seed 0" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught_and_asked(loaded, STORIES, LANGUAGES, 3, Teaching(("branches",), stories=2, steps=3, batch=4, rate=1e-2), stop)
    assert _difference(start, dict(loaded.model.state_dict())) == 0.0


def test_what_never_trains_is_computed_once_for_what_is_asked(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[TokenRow] = []
    compute = Body._compute

    def observed(self: Body, rows: Sequence[TokenRow]) -> Any:
        computed.extend(rows)
        return compute(self, rows)

    monkeypatch.setattr(Body, "_compute", observed)
    loaded, _ = _lesson(gemma_folder)
    for own in reading_questions(STORIES, LANGUAGES, 3, loaded.encoder).values():
        for tree in question_trees(own):
            assert computed.count(tree.row) == 1


def test_figures_by_hand() -> None:
    """Two stories, English and German alone, of which before the first is answered after every article. Taught together it is (1, 1) with one seed and (1, 0)
    with the other, .75 in the mean and .25 above before; in branches (1, 1) with both, .25 above that. Without an article nothing is answered."""

    def readings(*first: float) -> tuple[Reading, ...]:
        pairs = [(read, asked) for read in (WITHOUT, "en", "de") for asked in ("en", "de")]
        return tuple(Reading(read, asked, (0.0, 0.0) if read == WITHOUT else first, 0.5) for read, asked in pairs)

    after = [("together", 0, (1, 1)), ("branches", 0, (1, 1)), ("together", 1, (1, 0)), ("branches", 1, (1, 1))]
    lesson = Lesson(
        Teaching(("together", "branches"), seeds=(0, 1)),
        readings(1.0, 0.0),
        tuple(Taught(way, seed, readings(*map(float, first))) for way, seed, first in after),
    )
    found = lesson_figures(lesson)
    assert list(found) == [
        "in the same language",
        "in another language",
        "in another language of the same script",
        "in English",
        "in German",
        "in any, asked in English",
        "in any, asked in German",
        "none",
    ]
    expected = {
        "before": 0.5,
        "together": 0.75,
        "branches": 1.0,
        "together − before": 0.25,
        "branches − before": 0.5,
        "branches − together": 0.25,
    }
    for name in found:
        means = {state: own.mean for state, own in found[name].items()}
        assert means == pytest.approx(expected if name != "none" else dict.fromkeys(expected, 0.0))
        assert all(own.low <= own.mean <= own.high and own.n == 2 for own in found[name].values())


def test_differences_are_paired_by_story() -> None:
    """What changes no story of any seed has an interval only as wide as two stories leave open: 1 − .025^½ to either side of 0."""
    readings = tuple(Reading(read, "en", (1.0, 0.0), 0.5) for read in (WITHOUT, "en"))
    lesson = Lesson(Teaching(("together",), seeds=(0, 1)), readings, (Taught("together", 0, readings), Taught("together", 1, readings)))
    apart = lesson_figures(lesson)["in the same language"]["together − before"]
    open_to = 1 - 0.025**0.5
    assert (apart.mean, apart.low, apart.high) == pytest.approx((0.0, -open_to, open_to))


# --- refused -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ways": ("branch",)}, "unknown way to teach 'branch': did you mean 'branches'?"),
        ({"rate": 0.0}, "rate 0: give a number above 0"),
        ({"rate": math.inf}, "rate inf: give a number above 0"),
        ({"rate": math.nan}, "rate nan: give a number above 0"),
    ],
)
def test_what_cannot_be_taught_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        Teaching(**{"ways": ("together",), **changes})


def test_fewer_exercises_than_pairs_are_refused(gemma_folder: Path) -> None:
    """Three languages are nine pairs: one step of eight exercises leaves one out."""
    Teaching(("together",), steps=2).check(("en", "de", "ur"))
    with pytest.raises(
        UserError, match="1 steps of 8 exercises do not tell 9 pairs of languages; give 2 steps or more, or fewer languages"
    ):
        Teaching(("together",), steps=1).check(("en", "de", "ur"))
    with pytest.raises(UserError, match="do not tell 4 pairs"):
        _lesson(gemma_folder, teaching={"steps": 1, "batch": 3})


def test_a_teaching_that_diverges_is_told(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "trained", lambda given: [1.0, math.nan, 1.0])
    with pytest.raises(UserError, match=r"rate 0\.01: teaching together diverged; give a lower --rate"):
        _lesson(gemma_folder)


# --- the command -------------------------------------------------------------------------------------------------------------------------

COMMAND = ["--language", "en", "--language", "ur", "--stories", "3", "--candidates", "3"]
SHORT = ["--taught-stories", "2", "--steps", "3", "--rate", "1e-2"]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_asks_teaches_and_asks_again(gemma_folder: Path, tmp_path: Path) -> None:
    before = _bytes(gemma_folder)
    ways = ["--teach", "together", "--teach", "branches", "--seed", "0", "--seed", "1", *SHORT]
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    result = CliRunner().invoke(app, ["comprehend", str(gemma_folder), *COMMAND, *ways, *files])
    assert result.exit_code == 0, result.output
    assert "(2 seeds)" in result.output and "in any, asked in Urdu" in result.output
    assert "branches − together, article in another script: " in result.output
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["teaching"] == {"ways": ["together", "branches"], "stories": 2, "steps": 3, "rate": 0.01, "seeds": [0, 1], "batch": 8}
    assert [(own["way"], own["seed"], len(own["readings"])) for own in data["taught"]] == [
        (way, seed, 6) for seed in (0, 1) for way in ("together", "branches")
    ]
    assert set(data["figures"]["none"]) >= {"before", "together", "branches", "branches − together"}
    text = (tmp_path / "a.md").read_text()
    assert (
        "| no article |" in text
        and "| article | before | together | branches | together − before | branches − before | branches − together |" in text
    )
    assert "after 3 steps of 8 exercises from 2 other stories at rate 0.01 (2 seeds)" in text
    assert "The teachers of branches took as many exercises again" in text
    assert _bytes(gemma_folder) == before and sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.md"]


def test_the_taught_model_is_left_where_it_is_asked_for(gemma_folder: Path, tmp_path: Path) -> None:
    """Asked anew it answers as the JSON says that it did."""
    ways = ["--teach", "branches", *SHORT, "--out", str(tmp_path / "taught"), "--json", str(tmp_path / "a.json")]
    result = CliRunner().invoke(app, ["comprehend", str(gemma_folder), *COMMAND, *ways])
    assert result.exit_code == 0, result.output
    (after,) = json.loads((tmp_path / "a.json").read_text())["taught"]
    loaded = load_model(str(tmp_path / "taught"))
    found = comprehension(loaded, STORIES, LANGUAGES, 3)
    assert [list(own.first) for own in found] == [own["first"] for own in after["readings"]]
    start = load_model(str(gemma_folder)).model.state_dict()
    assert _difference(dict(start), dict(loaded.model.state_dict())) > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "3"], "--steps changes nothing here: without --teach nothing is taught"),
        (["--taught-stories", "3"], "--taught-stories changes nothing here"),
        (["--rate", "1e-3"], "--rate changes nothing here"),
        (["--seed", "2"], "--seed changes nothing here"),
        (["--out", "nowhere"], "--out changes nothing here"),
        (["--teach", "apart"], "unknown way to teach 'apart'"),
        (["--teach", "together", "--rate", "0"], "rate 0: give a number above 0"),
        (["--teach", "together", "--steps", "1"], "1 steps of 8 exercises do not tell 81 pairs of languages; give 11 steps"),
        (["--teach", "together", "--seed", "0", "--seed", "1", "--out", "nowhere"], "--out nowhere: holds one model"),
        (["--teach", "together", "--teach", "branches", "--out", "nowhere"], "--out nowhere: holds one model"),
        (["--teach", "together", "--out", "."], "is there already"),
        (["--teach", "together", "--out", "nowhere", "--json", "nowhere"], "is named twice"),
    ],
)
def test_the_command_refuses_before_it_loads_anything(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["comprehend", "no-such-model", *arguments])
    assert isinstance(result.exception, UserError), result.output
    assert message in str(result.exception)


def test_a_way_that_is_named_twice_is_taught_once(gemma_folder: Path, tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    ways = ["--teach", "together", "--teach", "together", *SHORT, *files]
    result = CliRunner().invoke(app, ["comprehend", str(gemma_folder), *COMMAND, *ways])
    assert result.exit_code == 0, result.output
    assert len(json.loads((tmp_path / "a.json").read_text())["taught"]) == 1
    text = (tmp_path / "a.md").read_text()
    assert "| article | before | together | together − before |" in text and "teachers" not in text


def test_a_teacher_warms_up_over_the_same_share_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 steps warm up over four: branches of 12 and of 6 steps over two and one, so that a short one is not all warm-up."""
    taken: list[tuple[int, int]] = []

    def seen(own: Training) -> list[float]:
        taken.append((len(own.steps), own.optimiser.warm_up))
        return []

    monkeypatch.setattr(training_branches, "trained", seen)
    monkeypatch.setattr(training_branches, "reference_now", lambda *given: None)
    steps = [Step()] * 24
    given = Training(None, None, {}, steps, LEARNING, Optimiser(1e-3, warm_up=4), torch.Generator(), lambda number, loss: False)  # type: ignore[arg-type]
    learned_in_branches(given, [steps[:12], steps[:6]])
    assert taken == [(12, 2), (6, 1), (24, 4)]
