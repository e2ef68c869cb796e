"""LINGTEA's protocol: its data, what is measured of a state, the states on disk, the figures by hand, and the command."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lingtea_data import fact, lingtea_data, sentence
from reader_rows import jsonl, said
from tiny import own_label_log_probs, own_log_probs, sharp
from typer.testing import CliRunner

from polyunlearn.analysis.lingtea import Figure, lingtea_figures
from polyunlearn.cli import app
from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.lingtea import run as run_module
from polyunlearn.lingtea.run import Lowest, Settings, run_lingtea
from polyunlearn.lingtea.store import BEFORE, Record, State
from polyunlearn.lingtea.tasks import FORGET, HELD_OUT, RETAIN, Facts, Texts, read_task
from polyunlearn.lingtea.ways import WAYS, check_ways
from polyunlearn.models.body import Body
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.report.lingtea import Found
from polyunlearn.scoring.measure import Moment
from polyunlearn.scoring.rows import Row
from polyunlearn.study.processes import Silent
from polyunlearn.training.reference import ReferenceCache

NOW = Moment(3, True)
FEW = Settings(steps=5, batch=2)


# The data


def test_facts_are_those_that_are_there_in_every_language_with_candidates(tmp_path: Path) -> None:
    """The second lacks French, the third candidates in it: the first is left."""
    data = lingtea_data(tmp_path)
    second, third = fact(1), fact(2)
    del second["prompt"]["fr"], third["candidates"]["fr"]
    jsonl(data / "bmlama53" / "forget-32.jsonl", [fact(0), second, third])
    task = read_task("facts", data, ("en", "fr"))
    assert isinstance(task, Facts) and [own.id for own in task.forget] == ["forget-32:1"] and len(task.retain) == 4
    assert task.languages == ("en", "fr") and set(task.sentences.held_out) == {"en", "fr"}


def test_held_out_sentences_are_neither_forgotten_nor_retained(tmp_path: Path) -> None:
    """Of `forget-64` three are forgotten and one (3) is retained; 8 and 9 are left."""
    task = read_task("texts", lingtea_data(tmp_path), ("fr",))
    assert isinstance(task, Texts)
    assert task.sentences.held_out == {"fr": (sentence(8)["fr"], sentence(9)["fr"])}
    assert task.sentences.forget["fr"][0] == sentence(0)["fr"] and len(task.sentences.retain["fr"]) == 4


@pytest.mark.parametrize("name", ["bmlama53/retain-32-x2", "flores200/forget-32", "flores200/forget-64"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    path = lingtea_data(tmp_path) / f"{name}.jsonl"
    path.unlink()
    assert said(lambda: read_task("facts", tmp_path, ("en",))).startswith(f"{path}: there is no such file")


@pytest.mark.parametrize(
    ("task", "languages", "says"),
    [
        ("facts", ("en", "de"), "no fact is there in 'de'; there are en, fr: choose from these with --language"),
        ("texts", ("en", "de"), "no sentence is there in 'de'; there are en, fr, es: choose"),
        ("facts", (), "no fact is there in 'es'; there are en, fr"),
        ("texts", (), "no sentence is there in 'zh'"),
        ("texts", ("xx",), "unknown language 'xx'"),
        ("text", ("en",), "unknown task 'text': did you mean 'texts'?"),
    ],
)
def test_what_the_data_lack_is_said(tmp_path: Path, task: str, languages: tuple[str, ...], says: str) -> None:
    data = lingtea_data(tmp_path)
    assert says in said(lambda: read_task(task, data, languages))


def test_facts_without_running_text_in_any_language_are_refused(tmp_path: Path) -> None:
    data = lingtea_data(tmp_path)
    for name in ("forget-32", "forget-64", "retain-32-x2"):
        rows = [json.loads(line) for line in (data / "flores200" / f"{name}.jsonl").read_text().splitlines()]
        jsonl(data / "flores200" / f"{name}.jsonl", [{"es": row["es"]} for row in rows])
    assert "FLORES-200 is there in es, so that nothing would say" in said(lambda: read_task("facts", data, ("en", "fr")))


def test_facts_that_share_no_language_are_refused(tmp_path: Path) -> None:
    data = lingtea_data(tmp_path)
    english, french = fact(0), fact(1)
    del english["prompt"]["fr"], french["prompt"]["en"]
    jsonl(data / "bmlama53" / "forget-32.jsonl", [english, french])
    assert "no fact is there, with candidates, in all of en, fr" in said(lambda: read_task("facts", data, ("en", "fr")))


def test_nothing_held_out_is_refused(tmp_path: Path) -> None:
    data = lingtea_data(tmp_path)
    jsonl(data / "flores200" / "forget-64.jsonl", [sentence(0), sentence(1)])
    assert "is left to measure running text by" in said(lambda: read_task("texts", data, ("en",)))


# What is measured


def test_pa_and_ma_are_the_models_own(gemma_folder: Path, tmp_path: Path) -> None:
    """By the Hugging Face model: a fact is first where its answer's mean log-prob lies above those of all other candidates; MA is the share of the answer's tokens
    that are the most probable at their places."""
    loaded, task = sharp(gemma_folder), read_task("facts", lingtea_data(tmp_path), ("en", "fr"))
    assert isinstance(task, Facts)
    rows = {(row.asks, row.metric, row.story, row.language): row.value for row in task.rows(loaded, (FORGET, RETAIN), NOW)}
    assert len(rows) == 2 * 2 * 7
    for part, facts in ((FORGET, task.forget), (RETAIN, task.retain)):
        for own in facts:
            for tag in task.languages:
                edition, language = own.editions[tag], get_language(tag)
                prompt = loaded.encoder.prompt(language, edition.fake_questions[0])
                told = [
                    TokenSequence((*prompt, *loaded.encoder.continuation(language, name)), len(prompt))
                    for name in (edition.keyword, *edition.distractors)
                ]
                means = [float(own_label_log_probs(loaded, one).mean()) for one in told]
                assert rows[part, "first", own.id, tag] == (means[0] > max(means[1:]))
                choices = own_log_probs(loaded, told[0].ids).argmax(1)
                hits = [int(choices[place - 1]) == told[0].ids[place] for place in range(len(prompt), len(told[0].ids))]
                assert rows[part, "exact_memorisation", own.id, tag] == pytest.approx(sum(hits) / len(hits))


def test_of_texts_ma_loss_and_bits_are_the_models_own(gemma_folder: Path, tmp_path: Path) -> None:
    """Every token but the first counts, and no end behind the text; bits per byte are over the bytes of the text: "dejó" has one more than letters."""
    loaded, task = sharp(gemma_folder), read_task("texts", lingtea_data(tmp_path), ("es",))
    rows = {(row.metric, row.story): row for row in task.rows(loaded, (HELD_OUT,), NOW)}
    assert {(row.asks, row.step, row.language) for row in rows.values()} == {(HELD_OUT, 3, "es")} and len(rows) == 6
    for number, text in enumerate((sentence(8)["es"], sentence(9)["es"]), start=1):
        told = TokenSequence(loaded.encoder.running(get_language("es"), text).ids[:-1], 1)
        own = own_label_log_probs(loaded, told)
        choices = own_log_probs(loaded, told.ids).argmax(1)[:-1]
        hits = (choices == torch.tensor(told.ids[1:])).double().mean().item()
        assert rows["exact_memorisation", f"sentence:{number}"].value == pytest.approx(hits)
        assert rows["loss", f"sentence:{number}"].value == pytest.approx(-own.mean().item(), abs=1e-4)
        bits = -own.sum().item() / math.log(2) / (len(text) + 1)
        assert rows["bits_per_byte", f"sentence:{number}"].value == pytest.approx(bits, abs=1e-4)


def test_the_order_of_languages_changes_no_value(gemma_folder: Path, tmp_path: Path) -> None:
    data = lingtea_data(tmp_path)
    values = []
    for languages in (("en", "fr"), ("fr", "en")):
        rows = read_task("facts", data, languages).rows(sharp(gemma_folder), (FORGET, HELD_OUT), NOW)
        values.append({(row.asks, row.metric, row.story, row.language): pytest.approx(row.value, abs=1e-4) for row in rows})
    assert values[0] == values[1]


def test_facts_train_on_answers_and_texts_on_all_tokens(gemma_folder: Path, tmp_path: Path) -> None:
    data, encoder = lingtea_data(tmp_path), sharp(gemma_folder).encoder
    facts, texts = (read_task(name, data, ("en", "fr")).trained(encoder) for name in ("facts", "texts"))
    assert [len(own) for own in (facts.forget, facts.retain, facts.texts)] == [3, 4, 4]
    assert [len(own) for own in (texts.forget, texts.retain, texts.texts)] == [3, 4, 0]
    answer, text = facts.forget[0]["fr"], texts.forget[0]["fr"]
    assert answer.labels == encoder.continuation(get_language("fr"), "Vientiane") and answer.language == "fr"
    assert text.label_from == 1 and text == encoder.running(get_language("fr"), sentence(0)["fr"])


# The ways


def test_ways_have_their_rates_and_methods(tmp_path: Path) -> None:
    """LINGTEA's rates are 1e-4 for facts and 5e-4 for texts; ours alone lets go."""
    data = lingtea_data(tmp_path)
    facts, texts = (read_task(name, data, ("en",)) for name in ("facts", "texts"))
    assert [WAYS[name].rate_for(facts.rate) for name in WAYS] == [3e-5, 1e-4, 3e-5, 1e-4, 3e-5]
    assert [WAYS[name].rate_for(texts.rate) for name in WAYS] == [3e-5, 5e-4, 3e-5, 5e-4, 3e-5]
    for name, way in WAYS.items():
        forget, retain = way.objective(facts).forget, way.objective(texts).retain
        assert forget and retain and way.alternating == (name != "ours")
        assert forget.stop_below == (-12.0 if name == "ours" else None) and retain.weight == (16.0 if name == "ours" else 1.0)
        assert ("reference_repeated" in retain.needs) == name.startswith("published")


def test_ways_are_checked_and_ordered() -> None:
    assert check_ways(["corrected", "ours"]) == ("ours", "corrected") and check_ways([]) == tuple(WAYS)
    assert "did you mean 'corrected'?" in said(lambda: check_ways(["correct"]))


def test_the_first_state_with_the_lowest_score_is_kept() -> None:
    """Scores .5, .2, .2, .3, .1: looks since the lowest 0, 0, 1, 2, 0; a tie is no lower."""
    scores = iter([0.5, 0.2, 0.2, 0.3, 0.1])
    lowest = Lowest(lambda: next(scores), lambda: {"w": torch.zeros(1)})
    assert [lowest.look(step) for step in (4, 8)] == [0, 0]
    kept = lowest.state
    assert [lowest.look(step) for step in (12, 16)] == [1, 2] and lowest.step == 8 and lowest.state is kept
    assert lowest.look(20) == 0 and lowest.step == 20 and lowest.state is not kept


def test_patience_ends_training_and_gives_back_the_lowest(gemma_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of 2 steps that forget and of 2 that retain. Scores .5, .3, .4, .6 after steps 2, 4, 6, 8: with a patience of 2 it ends after 8 of 40 steps, and the
    state after 4 is kept, the very one that a run of 4 steps at these rates has: bit for bit what was there then."""
    task = read_task("facts", lingtea_data(tmp_path / "data"), ("en", "fr"))
    scores = iter([0.5, 0.3, 0.4, 0.6])
    at: list[dict[str, torch.Tensor]] = []

    def score(task: object, loaded: Any) -> float:
        at.append({name: value.clone() for name, value in loaded.model.state_dict().items()})
        return next(scores)

    monkeypatch.setattr(run_module, "_score", score)
    seen: list[dict[str, torch.Tensor]] = []

    def rows(self: Facts, loaded: Any, parts: object, moment: Moment) -> list[Row]:
        seen.append({name: value.clone() for name, value in loaded.model.state_dict().items()})
        return [Row(moment.step, moment.end, "a", "en", FORGET, 0, "first", 1.0)]

    monkeypatch.setattr(Facts, "rows", rows)
    states = run_lingtea(task, str(gemma_folder), tmp_path / "out", ["published"], [1], Settings(40, 2, patience=2), Silent())
    assert (states[1].record.kept, states[1].record.taken) == (4, 8) and {row.step for row in states[1].rows} == {4}
    assert len(at) == 4
    for name, value in seen[-1].items():
        assert torch.equal(value, at[1][name])
    assert any(not torch.equal(at[1][name], at[3][name]) for name in at[1])


# Runs


def rows_of(states: list[State]) -> dict[tuple[str, int], tuple[Row, ...]]:
    return {(own.way, own.seed): own.rows for own in states}


@pytest.mark.parametrize("task", ["facts", "texts"])
def test_a_run_that_was_stopped_goes_on_to_the_same_rows(
    gemma_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """Killed while the second of four states trains, then taken up; and each state by itself in a folder of its own: the same rows, bit for bit."""
    own = read_task(task, lingtea_data(tmp_path / "data"), ("en", "fr"))
    asked = (["ours", "corrected"], [1, 2], FEW, Silent())
    whole = run_lingtea(own, str(gemma_folder), tmp_path / "whole", *asked)
    assert [(state.way, state.seed) for state in whole] == [(BEFORE, 0), ("ours", 1), ("ours", 2), ("corrected", 1), ("corrected", 2)]
    assert len({state.rows for state in whole}) == 5 and all(state.record.kept == 5 for state in whole[1:])
    trained = run_module.train
    calls = []

    def dying(*arguments: Any, **named: Any) -> list[float]:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return trained(*arguments, **named)

    monkeypatch.setattr(run_module, "train", dying)
    with pytest.raises(KeyboardInterrupt):
        run_lingtea(own, str(gemma_folder), tmp_path / "stopped", *asked)
    assert len(list((tmp_path / "stopped" / "states").iterdir())) == 2
    assert rows_of(run_lingtea(own, str(gemma_folder), tmp_path / "stopped", *asked)) == rows_of(whole)
    alone = run_lingtea(own, str(gemma_folder), tmp_path / "alone", ["corrected"], [2], FEW, Silent())
    assert rows_of(alone)["corrected", 2] == rows_of(whole)["corrected", 2]


def test_a_model_that_drops_at_random_trains_alike_whatever_came_before(llama_folder: Path, tmp_path: Path) -> None:
    """With half of the attention dropped, seed 2 by itself gives the rows that it gives after seed 1."""
    folder = tmp_path / "dropping"
    shutil.copytree(llama_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.5}))
    own = read_task("texts", lingtea_data(tmp_path / "data"), ("en",))
    both = run_lingtea(own, str(folder), tmp_path / "both", ["published"], [1, 2], FEW, Silent())
    alone = run_lingtea(own, str(folder), tmp_path / "alone", ["published"], [2], FEW, Silent())
    assert rows_of(alone)["published", 2] == rows_of(both)["published", 2] != rows_of(both)["published", 1]


def test_what_frozen_layers_made_before_reaches_no_stage(gemma_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last bits of a row depend on what it was computed with: before the reference, the training and the measuring the body starts afresh."""
    events: list[str] = []

    def told(owner: Any, name: str) -> None:
        own = getattr(owner, name)

        def recorded(*arguments: Any, **named: Any) -> Any:
            events.append(name)
            return own(*arguments, **named)

        monkeypatch.setattr(owner, name, recorded)

    for owner, name in ((Body, "start_afresh"), (ReferenceCache, "reference"), (run_module, "train"), (Texts, "rows")):
        told(owner, name)
    own = read_task("texts", lingtea_data(tmp_path / "data"), ("en",))
    run_lingtea(own, str(gemma_folder), tmp_path / "out", ["published"], [1], FEW, Silent())
    measured = ["start_afresh", *["rows"] * 3]
    assert events == [*measured, "start_afresh", "reference", "start_afresh", "train", *measured]


def test_ways_move_the_model_where_they_should(gemma_folder: Path, tmp_path: Path) -> None:
    """At LINGTEA's rate ascent makes what is forgotten less probable than before; layers below the first that trains stay as they were, so that with all but the
    last of four frozen the rows are others."""
    own = read_task("texts", lingtea_data(tmp_path / "data"), ("en",))
    settings = Settings(steps=2, batch=2)
    states = run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [1], settings, Silent())

    def loss(state: State) -> float:
        return sum(row.value for row in state.rows if row.asks == FORGET and row.metric == "loss")

    assert loss(states[1]) > loss(states[0])
    upper = run_lingtea(own, str(gemma_folder), tmp_path / "b", ["published"], [1], replace(settings, from_layer=3), Silent())
    assert upper[0].rows != () and upper[1].rows != states[1].rows


@pytest.mark.parametrize("change", [{"steps": 6}, {"batch": 3}, {"patience": 1}, {"from_layer": 2}])
def test_a_folder_keeps_to_its_settings(gemma_folder: Path, tmp_path: Path, change: dict[str, int]) -> None:
    own = read_task("texts", lingtea_data(tmp_path / "data"), ("en",))
    run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [1], FEW, Silent())
    message = said(lambda: run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [1], replace(FEW, **change), Silent()))
    assert f"different: {next(iter(change))}: " in message


def test_a_folder_keeps_to_its_data_and_grows(gemma_folder: Path, tmp_path: Path) -> None:
    """Other sentences are another run; further seeds and ways are not, and what is there is not made again."""
    data = lingtea_data(tmp_path / "data")
    own = read_task("texts", data, ("en",))
    first = run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [1], FEW, Silent())
    grown = run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [2, 1], FEW, Silent())
    assert grown[:2] == first and [(state.way, state.seed) for state in grown] == [(BEFORE, 0), ("published", 1), ("published", 2)]
    jsonl(data / "flores200" / "retain-32-x2.jsonl", [sentence(number) for number in range(20, 24)])
    message = said(lambda: run_lingtea(read_task("texts", data, ("en",)), str(gemma_folder), tmp_path / "a", [], [1], FEW, Silent()))
    assert "holds another run (different: data: " in message


def test_a_folder_keeps_to_what_its_ways_are(gemma_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way that was changed, as an owner's default may be, is another one: its seeds are not pooled with those before."""
    own = read_task("texts", lingtea_data(tmp_path / "data"), ("en",))
    run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [1], FEW, Silent())
    monkeypatch.setitem(WAYS, "ours", replace(WAYS["ours"], retain_weight=1.0))
    message = said(lambda: run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [2], FEW, Silent()))
    assert "different: way ours: " in message and "retain weight 16" in message and "retain weight 1," in message


def test_a_training_that_breaks_is_not_the_lowest(gemma_folder: Path, tmp_path: Path) -> None:
    """A loss that is no number ends it before the state is looked at, whose scores would be 0."""
    own = read_task("texts", lingtea_data(tmp_path / "data"), ("en",))
    wild = replace(WAYS["published"], rate=1e30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WAYS, "published", wild)
        (_, state) = run_lingtea(own, str(gemma_folder), tmp_path / "a", ["published"], [1], replace(FEW, patience=1, steps=6), Silent())
    assert state.record.kept < 6


def test_a_folder_of_something_else_is_refused(gemma_folder: Path, tmp_path: Path) -> None:
    own = read_task("texts", lingtea_data(tmp_path / "data"), ("en",))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    run = lambda: run_lingtea(own, str(gemma_folder), tmp_path / "out", [], [1], FEW, Silent())  # noqa: E731
    assert "is not empty and holds no run of this command" in said(run)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


# Figures


def _state(way: str, seed: int, values: dict[str, list[float]], metric: str, part: str) -> State:
    rows = [Row(2, True, f"{number}", tag, part, -1, metric, value) for tag, own in values.items() for number, value in enumerate(own)]
    return State(way, seed, tuple(rows), Record(2, 2, 60.0, 10**9))


def _one(figures: list[Figure], way: str, metric: str, language: str) -> Estimate:
    (found,) = [own.value for own in figures if (own.way, own.metric, own.language) == (way, metric, language)]
    return found


def test_means_over_seeds_languages_and_facts_by_hand() -> None:
    """Two facts. Seed 1: en 1, 0 and fr 0, 0; seed 2: en 1, 1 and fr 1, 0. English: (.5 + 1) / 2; French: (0 + .5) / 2; over both .5. Two facts are two clusters,
    however many seeds."""
    before = _state(BEFORE, 0, {"en": [1, 1], "fr": [1, 0]}, "first", FORGET)
    one = _state("ours", 1, {"en": [1, 0], "fr": [0, 0]}, "first", FORGET)
    two = _state("ours", 2, {"en": [1, 1], "fr": [1, 0]}, "first", FORGET)
    figures = lingtea_figures([before, one, two])
    assert [_one(figures, "ours", "first", tag).mean for tag in ("en", "fr", "")] == pytest.approx([0.75, 0.25, 0.5])
    own = _one(figures, "ours", "first", "")
    assert own.n == 2 and 0 <= own.low <= own.mean <= own.high <= 1
    assert _one(figures, BEFORE, "first", "").mean == pytest.approx(0.75)


def test_the_rise_of_bits_and_perplexity_by_hand() -> None:
    """Bits 2 and 4 before, 3 and 5 after: up by .5 and .25, a mean of .375. Losses ln 2 and ln 8: a perplexity of 4."""
    before, after = (
        [*_state("", 0, {"en": bits}, "bits_per_byte", HELD_OUT).rows, *_state("", 0, {"en": losses}, "loss", HELD_OUT).rows]
        for bits, losses in (([2.0, 4.0], [0.0, 0.0]), ([3.0, 5.0], [math.log(2), math.log(8)]))
    )
    record = Record(0, 0, 0.0, 0)
    figures = lingtea_figures([State(BEFORE, 0, tuple(before), record), State("ours", 1, tuple(after), record)])
    assert _one(figures, "ours", "bits_rise", "en").mean == pytest.approx(0.375)
    assert _one(figures, "ours", "perplexity", "en").mean == pytest.approx(4) and _one(figures, BEFORE, "perplexity", "").mean == 1
    assert not [own for own in figures if own.way == BEFORE and own.metric == "bits_rise"]


def test_a_model_that_diverged_is_worst_and_has_no_numbers() -> None:
    record = Record(0, 0, 0.0, 0)

    def state(way: str, seed: int, spoilt: float) -> State:
        values = {"en": [1.0, 1.0], "fr": [spoilt, spoilt]}
        parts = [_state(way, seed, values, name, HELD_OUT).rows for name in ("bits_per_byte", "loss")]
        kept = _state(way, seed, {"en": [1.0, 0.0], "fr": [0.0, 0.0]}, "exact_memorisation", FORGET).rows
        return State(way, seed, (*kept, *parts[0], *parts[1]), record)

    states = [state(BEFORE, 0, 1.0), state("published", 1, math.nan)]
    found = Found({"task": "texts", "languages": ["en", "fr"]}, tuple(lingtea_figures(states)), ())
    worst = found.most("published", HELD_OUT, "bits_rise")
    assert worst and worst[0] == "fr" and math.isnan(worst[1].mean)
    left = found.most("published", FORGET, "exact_memorisation")
    assert left and left[0] == "en"


# The command


@pytest.mark.parametrize("task", ["facts", "texts"])
def test_the_command_writes_tables(gemma_folder: Path, tmp_path: Path, task: str) -> None:
    data, out = lingtea_data(tmp_path / "data"), tmp_path / "out"
    typed = [
        "study",
        "lingtea",
        str(data),
        "--task",
        task,
        "--out",
        str(out),
        "--model",
        str(gemma_folder),
        "--language",
        "en",
        "--language",
        "fr",
    ]
    typed += [
        "--steps",
        "3",
        "--batch",
        "2",
        "--seed",
        "1",
        "--seed",
        "2",
        "--json",
        str(tmp_path / "a.json"),
        "--markdown",
        str(tmp_path / "a.md"),
    ]
    result = CliRunner().invoke(app, typed)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "unlearned in 2 languages" in result.output
    page = (tmp_path / "a.md").read_text()
    metrics = ("PA", "MA") if task == "facts" else ("MA", "perplexity")
    for way, rate in zip(WAYS.values(), ("3e-05", "0.0001" if task == "facts" else "0.0005", "3e-05") * 2, strict=False):
        assert f"| {way.title}, rate {rate} |" in page
        assert all(f"| {way.title}, rate {rate} | forget, {metric} |" in page for metric in metrics)
    assert "3 to forget, 4 to retain, 2 texts held out" in page and "| way | of | English | French |" in page
    data_written = json.loads((tmp_path / "a.json").read_text())
    assert data_written["run"]["languages"] == ["en", "fr"] and [own["seeds"] for own in data_written["costs"]] == [[0], *[[1, 2]] * 5]
    assert {own["way"] for own in data_written["figures"]} == {BEFORE, *WAYS}
    again = CliRunner().invoke(app, typed)
    assert again.exit_code == 0 and (tmp_path / "a.md").read_text() == page


def test_the_command_refuses_before_a_model_is_loaded(tmp_path: Path) -> None:
    typed = ["study", "lingtea", str(lingtea_data(tmp_path)), "--out", str(tmp_path / "out"), "--model", "nowhere", "--language", "en"]
    for more, says in (
        (["--task", "facts", "--way", "published-fast"], "unknown way"),
        (["--task", "words"], "unknown task"),
        (["--task", "texts", "--language", "de"], "no sentence is there in 'de'"),
        (["--task", "texts", "--json", "a", "--markdown", "a"], "is named twice"),
    ):
        result = CliRunner().invoke(app, [*typed, *more])
        assert isinstance(result.exception, UserError) and says in str(result.exception)
