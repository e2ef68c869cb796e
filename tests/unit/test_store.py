"""The results of a study on disk."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from polyunlearn.attacks.target import Variant
from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate
from polyunlearn.scoring.rows import Row
from polyunlearn.study.cells import Cell, no_growth
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.presets import load_config
from polyunlearn.study.store import MANIFEST, CellRecord, Store
from polyunlearn.tracing.languages import Held, Trace
from polyunlearn.tracing.selection import Choice

CELL = Cell("unlearned", 3, "ur", "english+source", "gradient_difference")
RECORD = CellRecord(4, 12_345, 1.25, 2**33, [0.1, -0.2, 1e-17, 3.0])
ROWS = [
    Row(4, True, "story", "ur", "fake", 1, "says", 1.0, "گولیبی \"quoted\" 'and'\n<b>"),
    Row(2, False, "other", "en", "text", -1, "bits_per_byte", 0.1 + 0.2),
    Row(4, True, "other", "zh", "real", 0, "loss", 1e-300),
]


def _config(**changes: Any) -> dict[str, Any]:
    return StudyConfig(**({"name": "one", "sources": ("de", "ur")} | changes)).model_dump()


def _manifest(**changes: object) -> dict[str, Any]:
    return {"study": {"config": _config(), "model": "m"} | changes, "machine": "one"}


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    """Every field of every row to the last bit, in the order written."""
    store = Store(tmp_path)
    store.write(CELL, ROWS, RECORD)
    fields = ("step", "end", "story", "language", "asks", "wording", "metric", "value", "text")
    found = store.query('SELECT step, "end", story, language, asks, wording, metric, value, text FROM rows').to_pylist()
    assert [Row(**{field: row[field] for field in fields}) for row in found] == ROWS


def test_the_cell_stands_in_every_row(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(CELL, ROWS, RECORD)
    store.write(Cell("base", 3), ROWS[:1], RECORD)
    found = store.query(
        "SELECT cell, state, source, strategy, method, seed, count(*) AS n FROM rows GROUP BY ALL ORDER BY cell"
    ).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("base-seed3", "base", None, None, None, 3, 1),
        (CELL.id, "unlearned", "ur", "english+source", "gradient_difference", 3, 3),
    ]


def test_the_record_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(CELL, ROWS, RECORD)
    assert store.record(CELL) == RECORD


def test_done_means_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.is_done(CELL)
    store.write(CELL, [], RECORD)
    assert store.is_done(CELL) and not store.is_done(Cell("unlearned", 4, "ur", "english+source", "gradient_difference"))
    assert store.record(CELL) == RECORD


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither half a file under the cell's name nor a stray one beside it."""

    def full(table: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("polyunlearn.study.store.pq.write_table", full)
    store = Store(tmp_path)
    with pytest.raises(UserError, match="no space left"):
        store.write(CELL, ROWS, RECORD)
    assert not store.is_done(CELL)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_open_begins_and_goes_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "new" / "study")
    store.open(_manifest())
    # Tuples become lists in JSON: the same study all the same. The machine may be another.
    store.open(_manifest() | {"machine": "other"})
    assert store.manifest()["machine"] == "one"
    assert store.manifest()["study"]["config"]["sources"] == ["de", "ur"]


def test_another_study_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open(_manifest())
    with pytest.raises(UserError, match=r"config\.stories: 24 there, 12 asked.*--out"):
        store.open(_manifest(config=_config(stories=12)))
    with pytest.raises(UserError, match="model: 'm' there, 'n' asked"):
        store.open(_manifest(model="n"))
    assert store.config().stories == 24


def test_a_study_goes_on_in_the_precision_that_it_began_with(tmp_path: Path) -> None:
    """One that names none was made in fp32, which no manifest names."""
    plain, rounded = Store(tmp_path / "fp32"), Store(tmp_path / "bf16")
    plain.open(_manifest())
    rounded.open(_manifest(precision="bfloat16"))
    rounded.check(_manifest(precision="bfloat16"))
    with pytest.raises(UserError, match=r"made with weights in float32, and here they would be in bfloat16; go on where it was begun"):
        plain.open(_manifest(precision="bfloat16"))
    with pytest.raises(UserError, match="made with weights in bfloat16"):
        rounded.check(_manifest())


def test_a_key_that_only_one_study_has_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open(_manifest())
    with pytest.raises(UserError, match="more: None there, 1 asked"):
        store.open(_manifest(more=1))


GROWN = {"seeds": (0, 1), "strategies": ("english", "source"), "methods": ("npo", "npo@slow"), "learning": {"question_languages": ("de",)}}


def _grown_manifest(**changes: Any) -> dict[str, Any]:
    config = _config(**(GROWN | changes))
    return {"study": {"config": config, "model": "m", "stories": {str(seed): {"count": 2} for seed in config["seeds"]}}}


def test_a_study_may_grow(tmp_path: Path) -> None:
    """More seeds, sources, strategies, methods with settings of their own: what is done stays, and the manifest says what there is now."""
    store = Store(tmp_path)
    store.open(_grown_manifest())
    for changes in (
        {"seeds": (2, 1, 0)},
        {"seeds": (2, 1, 0), "sources": ("de", "ur", "jv"), "keep_states": True},
        {"seeds": (2, 1, 0), "sources": ("de", "ur", "jv"), "strategies": ("all", "english", "source"), "keep_states": True},
        {"seeds": (2, 1, 0), "sources": ("de", "ur", "jv"), "strategies": ("all", "english", "source"), "methods": ("npo", "dpo", "npo@slow"),
         "unlearning": {"settings": {"dpo": {"rate": 1e-3}, "npo": {}}}, "keep_states": True},
    ):  # fmt: skip
        store.open(_grown_manifest(**changes))
        assert store.config() == StudyConfig.model_validate(_config(**(GROWN | changes)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seeds": (1, 2)}, "it would have no .*-seed0 any more"),
        ({"methods": ("npo", "idk_dpo", "npo@slow")}, "a method that trains refusals changes the vocabulary of all"),
        ({"unlearning": {"settings": {"npo": {"rate": 1e-3}}}}, "the settings of 'npo' are others"),
        ({"seeds": (0, 1, 2), "stories": 12}, "config.stories: 24 there, 12 asked"),
        ({"sources": ("de", "ur", "jv"), "learning": {"question_languages": ()}}, "config.learning.question_languages"),
        ({"strategies": ("pivot:en", "english", "source")}, "it would have no unlearned-de-english"),  # the same cells by another name
    ],
)
def test_what_would_change_a_cell_is_no_growth(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    store = Store(tmp_path)
    store.open(_grown_manifest())
    with pytest.raises(UserError, match=named):
        store.open(_grown_manifest(**changes))
    assert store.config() == StudyConfig.model_validate(_config(**GROWN))


def test_sources_in_another_order_are_no_growth_where_questions_are_drawn_from_them() -> None:
    """They are drawn by place, so that half of the cells would be taught other questions."""
    one, other = (load_config("quickstart", [f"sources={sources}"]) for sources in ("[de, jv]", "[jv, de]"))
    assert "in their order" in no_growth(other, one)
    named = [
        load_config("quickstart", [f"sources={sources}", "learning.question_languages=[de, jv]"]) for sources in ("[de, jv]", "[jv, de]")
    ]
    assert no_growth(named[1], named[0]) == ""


def test_sources_that_switch_with_other_languages_are_no_growth() -> None:
    """What articles are told in decides the tokens of all."""
    mixed = ["learning.question_languages=[de]", "learning.mixing=chunk", "learning.mixing_languages=[en]"]
    one, other = (load_config("quickstart", [f"sources={sources}", "learning.mixed=all", *mixed]) for sources in ("[de]", "[de, jv]"))
    assert "decide the vocabulary of all" in no_growth(other, one)
    one, other = (load_config("quickstart", [f"sources={sources}", *mixed]) for sources in ("[de]", "[de, jv]"))
    assert no_growth(other, one) == ""


def test_a_hidden_file_is_no_content(tmp_path: Path) -> None:
    """Such as what a killed writing of the manifest leaves, or a desktop."""
    (tmp_path / ".manifest.json.0a.part").write_text("{")
    Store(tmp_path).open(_manifest())
    assert Store(tmp_path).config().stories == 24


def test_lower_layers_of_a_new_method_are_no_growth_where_all_compute_them_once(tmp_path: Path) -> None:
    """Learning trains from layer 9 on: a method that does so from 4 where unlearning began at 5 changes what is kept, from 6 it does not."""
    store, plain = Store(tmp_path), {"learning": {"question_languages": ("de",), "from_layer": 9}}
    store.open(_grown_manifest(**plain, unlearning={"from_layer": 5}))

    def grown(layer: int) -> dict[str, Any]:
        settings = {"from_layer": 5, "settings": {"dpo": {"from_layer": layer}}}
        return _grown_manifest(**plain, methods=("npo", "dpo", "npo@slow"), unlearning=settings)

    with pytest.raises(UserError, match="a method that trains lower layers changes what all compute once"):
        store.open(grown(4))
    store.open(grown(6))


def test_states_that_are_kept_stay_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open(_grown_manifest(keep_states=True))
    with pytest.raises(UserError, match=r"config\.keep_states: True there, False asked"):
        store.open(_grown_manifest())


def test_gold_is_attacked_anew_where_there_are_more_sources(tmp_path: Path) -> None:
    """Its attacks take the learned states of all sources; with more seeds, or strategies, they stay."""
    store = Store(tmp_path)
    store.open(_grown_manifest())
    for cell in (Cell("gold", 0), CELL):
        store.write_attack("steering", cell, [(Variant("far", 1, "de"), ROWS[0])])
    store.open(_grown_manifest(seeds=(0, 1, 2)))
    assert store.attack_path("steering", Cell("gold", 0)).is_file()
    store.open(_grown_manifest(seeds=(0, 1, 2), sources=("de", "ur", "jv")))
    assert not store.attack_path("steering", Cell("gold", 0)).is_file() and store.attack_path("steering", CELL).is_file()


def test_questions_are_asked_in_the_sources_so_that_these_may_not_grow_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open(_manifest())
    with pytest.raises(UserError, match="sources"):
        store.open(_manifest(config=_config(sources=("de", "ur", "jv"))))


def test_a_study_of_an_older_version_goes_on(tmp_path: Path) -> None:
    """It lacks a setting, which then is at its default; where it is asked for otherwise the difference is named."""
    store, older = Store(tmp_path), _config()
    del older["learning"]["alignment_weight"]
    store.open(_manifest(config=older))
    store.open(_manifest())
    with pytest.raises(UserError, match=r"config\.learning\.alignment_weight: 1\.0 there, 2\.0 asked"):
        store.open(_manifest(config=_config(learning={"alignment_weight": 2.0})))


def test_a_study_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store, newer = Store(tmp_path), _config()
    newer["learning"]["to_come"] = 1
    store.open(_manifest(config=newer))
    with pytest.raises(UserError, match=r"'learning\.to_come' is no setting of this version"):
        store.open(_manifest())


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"is not empty and holds no study.*--out"):
        Store(tmp_path).open(_manifest())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file; give a folder with --out"):
        Store(tmp_path / "file").open(_manifest())


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    Store(tmp_path).open(_manifest())
    assert json.loads((tmp_path / MANIFEST).read_text())["study"]["model"] == "m"


def test_a_folder_without_a_study_says_how_to_run_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no study.*polyunlearn study run"):
        Store(tmp_path / "none").manifest()


@pytest.mark.parametrize("text", ["{", "", "[]", "{}", '{"study": ', '{"study": {}}', '{"study": 1}'])
def test_a_damaged_manifest_is_a_users_matter(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with the file, a person must be told, without a traceback."""
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(UserError, match=MANIFEST):
        Store(tmp_path).open(_manifest())


@pytest.mark.parametrize("kept", [0, 4, 200])
def test_a_damaged_cell_is_a_users_matter(tmp_path: Path, kept: int) -> None:
    """Of two cells one is cut off, as a full disk or a copy may leave it: it is named, whoever reads it."""
    store, other = Store(tmp_path), replace(CELL, seed=4)
    for cell in (other, CELL):
        store.write(cell, ROWS, RECORD)
    path = store.rows_path(CELL)
    path.write_bytes(path.read_bytes()[:kept])
    for read in (lambda: store.query("SELECT * FROM rows"), lambda: store.record(CELL)):
        with pytest.raises(UserError, match=rf"{re.escape(CELL.id)}\.parquet: damaged \(.+remove it"):
            read()
    assert store.record(other) == RECORD


def test_a_study_without_finished_cells_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no cell is finished yet"):
        Store(tmp_path).query("SELECT * FROM rows")


def test_languages_that_were_found_come_back(tmp_path: Path) -> None:
    """Of either kind; an older version called its own "trace"."""
    held = {"de": Held(Estimate(1.0, 0.5, 1.5, 24), 0.75)}
    trace = Trace(held, ("de",), {"de": {"de": 1.0}}, ("de",), {"de": 1.0}, ("Because.",))
    store = Store(tmp_path)
    for found in (trace, Choice(("en", "de"), {"en": 0.5, "de": 0.25}, ("Because.",))):
        store.write(CELL, ROWS, replace(RECORD, found=found))
        assert store.record(CELL).found == found
    store.write(CELL, ROWS, replace(RECORD, found=trace))
    table = pq.read_table(store.rows_path(CELL))
    about = json.loads(table.schema.metadata[b"polyunlearn.cell"])
    about["trace"] = about.pop("found")
    pq.write_table(table.replace_schema_metadata({b"polyunlearn.cell": json.dumps(about).encode()}), store.rows_path(CELL))
    assert store.record(CELL).found == trace


def test_a_cell_of_an_older_version_has_no_seconds_a_step(tmp_path: Path) -> None:
    """Its record lacks the fields that came later; they are then empty."""
    store = Store(tmp_path)
    store.write(CELL, ROWS, CellRecord(2, 30, 1.0, 1, [0.5, 0.25], [10, 20], [1.5, 0.5]))
    assert store.record(CELL).step_seconds == [1.5, 0.5]
    table = pq.read_table(store.rows_path(CELL))
    about = json.loads(table.schema.metadata[b"polyunlearn.cell"])
    older = {name: value for name, value in about.items() if not name.startswith("step_")}
    pq.write_table(table.replace_schema_metadata({b"polyunlearn.cell": json.dumps(older).encode()}), store.rows_path(CELL))
    assert store.record(CELL) == CellRecord(2, 30, 1.0, 1, [0.5, 0.25])
