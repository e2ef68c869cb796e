"""Configurations: presets, overrides, and errors that name key, value and remedy."""

from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import yaml

from polyunlearn.errors import UserError
from polyunlearn.languages import PAPER_LANGUAGES
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.presets import load_config, preset_names
from polyunlearn.training.mixtures import STRATEGIES

SMALLEST: dict[str, Any] = {"name": "mine", "sources": ["de"]}


def config_file(folder: Path, data: object) -> str:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return str(path)


def problems(preset: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_config(preset, overrides)
    return str(caught.value).splitlines()


# --- presets and files -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_valid_and_carries_its_name(name: str) -> None:
    assert load_config(name).name == name


def test_the_presets_are_those_that_the_manual_names() -> None:
    assert {"quickstart", "paper"} <= set(preset_names())


def test_the_paper_preset_is_the_papers_grid() -> None:
    # Lu & Koehn: nine languages as sources, a hundred stories, four strategies.
    config = load_config("paper")
    assert set(config.sources) == set(config.languages) == set(PAPER_LANGUAGES)
    assert config.stories == 100
    assert config.strategies == ("english", "source", "english+source", "all")
    assert len(config.seeds) >= 3  # an interval needs more than one seed


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    config = load_config(config_file(tmp_path, SMALLEST | {"learning": {"passes": 3}}))
    assert (config.name, config.sources, config.learning.passes) == ("mine", ("de",), 3)
    assert config == StudyConfig(name="mine", sources=("de",), learning={"passes": 3})  # what the file leaves out is the default


@pytest.mark.parametrize("typed", ["quikstart", "quickstrat", "papr"])
def test_an_unknown_preset_names_the_nearest_and_all(typed: str) -> None:
    (message,) = problems(typed)
    near = "paper" if typed == "papr" else "quickstart"
    assert f"unknown preset {typed!r}: did you mean {near!r}?" in message
    assert all(name in message for name in preset_names()) and "path of a YAML file" in message


def test_a_preset_like_no_other_gets_no_guess() -> None:
    (message,) = problems("zzz")
    assert "did you mean" not in message and "choose from" in message


def test_a_missing_file_is_a_users_error(tmp_path: Path) -> None:
    (message,) = problems(str(tmp_path / "nowhere.yaml"))
    assert message.startswith(f"{tmp_path / 'nowhere.yaml'}: there is no such file") and "quickstart" in message
    assert problems("studies/mine") == ["studies/mine: there is no such file; presets are " + ", ".join(preset_names())]


def test_a_study_of_another_ending_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("{}")
    assert problems(tmp_path / "study.json") == [f"{tmp_path / 'study.json'}: a study is a YAML file; give it the ending .yaml"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1", "not YAML"),
        ("- 1\n- 2", "must be a mapping"),
        ("unlearning: {rate: 1}\nunlearning: {steps: 5}", "the key 'unlearning' stands twice in one section"),
        ("[a]: 1", "cannot be a key"),
        ("? {a: b}\n: 1", "cannot be a key"),
        ("", "must be a mapping"),
    ],
)
def test_a_file_that_is_no_yaml_mapping_is_a_users_error(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    (message,) = problems(str(path))
    assert message.startswith(f"{path}: ") and part in message


def test_a_file_in_another_encoding_is_a_users_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes("name: é\nsources: [de]\n".encode("latin-1"))
    assert str(path) in problems(str(path))[0]


def test_yaml_cannot_make_python_objects(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: !!python/object/apply:os.getcwd []\nsources: [de]\n")
    assert "not YAML" in problems(str(path))[0]


# --- keys --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "key", "near"),
    [
        ({"langauges": ["en"]}, "langauges", "languages"),
        ({"storys": 3}, "storys", "stories"),
        ({"unlearning": {"rat": 1}}, "unlearning.rat", "rate"),
        ({"learning": {"english_question": 1}}, "learning.english_question", "english_questions"),
        ({"scoring": {"candidate": 5}}, "scoring.candidate", "candidates"),
        ({"learning": {"from_layers": 5}}, "learning.from_layers", "from_layer"),
    ],
)
def test_a_misspelt_key_names_the_key_that_was_meant(tmp_path: Path, data: dict[str, Any], key: str, near: str) -> None:
    path = config_file(tmp_path, SMALLEST | data)
    assert problems(path) == [f"{path}: unknown key {key!r}; did you mean {near!r}?"]


def test_a_key_like_no_other_lists_the_keys_of_its_own_section(tmp_path: Path) -> None:
    (message,) = problems(config_file(tmp_path, SMALLEST | {"trainable": {"zzz": 1}}))
    assert message.endswith("unknown key 'trainable.zzz'; known keys are weights, rank, alpha")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"stories": "many"}, ["stories: ", "valid integer", "'many'"]),
        ({"stories": 1}, ["stories: ", "greater than or equal to 2", "got 1"]),
        ({"unlearning": {"rate": 0}}, ["unlearning.rate: ", "greater than 0", "got 0"]),
        ({"unlearning": {"form": "poem"}}, ["unlearning.form: ", "'question' or 'article'", "'poem'"]),
        ({"learning": 3}, ["learning: ", "got 3"]),
        ({"sources": "de"}, ["sources: ", "a list is wanted; write ['de']"]),
        ({"sources": []}, ["sources: ", "at least 1 item"]),
        ({"name": ""}, ["name: ", "at least 1 character"]),
    ],
)
def test_a_wrong_value_names_key_reason_and_value(tmp_path: Path, data: dict[str, Any], parts: list[str]) -> None:
    path = config_file(tmp_path, SMALLEST | data)
    (message,) = problems(path)
    assert message.startswith(f"{path}: ")
    assert [part for part in parts if part not in message] == []


@pytest.mark.parametrize("missing", ["name", "sources"])
def test_a_missing_key_is_named(tmp_path: Path, missing: str) -> None:
    path = config_file(tmp_path, {key: value for key, value in SMALLEST.items() if key != missing})
    (message,) = problems(path)
    assert message.startswith(f"{path}: {missing}: is wanted; write it") and "got" not in message


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"languages": ["en", "de", "germn"]}, ["unknown language 'germn'", "did you mean de"]),
        ({"languages": ["de", "fr"]}, ["languages: must hold 'en'"]),
        (
            {"languages": ["en", "de"], "unlearning": {"trajectory_languages": ["fr", "jv"]}},
            ["unlearning.trajectory_languages: none of fr, jv is among the languages, so no trajectory would be measured"],
        ),
        ({"unlearning": {"trajectory_languages": ["en", "germn"]}}, ["unlearning.trajectory_languages: unknown language 'germn'"]),
        ({"sources": ["de", "ha"], "languages": ["en", "de"]}, ["sources: 'ha' is not among the languages"]),
        ({"trainable": {"weights": "all"}, "training_vocabulary": "study"}, ["trainable.weights: 'all' trains the output layer", "set"]),
        ({"strategies": ["covering"], "stories": 2}, ["strategies: 'aligned' and 'covering' compare true articles; set stories=3 or more"]),
        ({"strategies": ["pivot:en+sw"]}, ["strategies: strategy 'pivot:en+sw': 'sw' is not among the languages (en,"]),
        ({"strategies": ["englsh"]}, ["strategies: unknown strategy 'englsh'", "choose from", *STRATEGIES]),
        ({"methods": ["gradient"]}, ["methods: unknown method 'gradient'", "gradient_difference"]),
        (
            {"unlearning": {"settings": {"npo": {"beta": 1.0}}}},
            ["unlearning.settings: 'npo' is not among the methods (gradient_difference)"],
        ),
        (
            {"methods": ["npo"], "unlearning": {"settings": {"npo": {"beta": 1.0, "betta": 1.0}}}},
            [
                "unlearning.settings.npo: no setting 'betta'; it has rate, decay, retain_weight, retain_answers, retain_crossed, retain_switched, stop_below,",
                ", beta",
            ],
        ),
        (
            {"methods": ["npo"], "unlearning": {"settings": {"npo": {"beta": "high"}}}},
            ["unlearning.settings.npo.beta: must be a finite number, above 0 (got 'high')"],
        ),
        (
            {"methods": ["npo"], "unlearning": {"settings": {"npo": {"beta": 0}}}},
            ["unlearning.settings.npo.beta: must be a finite number, above 0 (got 0.0)"],
        ),
        (
            {"methods": ["npo+kl@own"], "unlearning": {"settings": {"npo+kl@own": {"beta": nan}}}},
            ["unlearning.settings.npo+kl@own.beta: must be a finite number, above 0 (got nan)"],
        ),
        (
            {"methods": ["simnpo"], "unlearning": {"settings": {"simnpo": {"margin": inf}}}},
            ["unlearning.settings.simnpo.margin: must be a finite number (got inf)"],
        ),
        (
            {"methods": ["npo_sam"], "unlearning": {"settings": {"npo_sam": {"rho": -0.1}}}},
            ["unlearning.settings.npo_sam.rho: must be a finite number, 0 or more (got -0.1)"],
        ),
        (
            {"methods": ["undo"], "unlearning": {"settings": {"undo": {"noise": 1.5}}}},
            ["unlearning.settings.undo.noise: must be a finite number, 0 to 1 (got 1.5)"],
        ),
        ({"unlearning": {"rate": inf}}, ["unlearning.rate: Input should be a finite number (got inf)"]),
        (
            {"methods": ["npo"], "unlearning": {"settings": {"npo": {"rate": -1}}}},
            ["unlearning.settings.npo.rate: Input should be greater than 0 (got -1.0)"],
        ),
        (
            {"methods": ["npo", "npo@own"], "unlearning": {"settings": {"npo@own": {"branches": "merged"}}}},
            ["unlearning.settings.npo@own.branches: Input should be 'none', 'merge' or 'distil' (got 'merged')"],
        ),
        (
            {"methods": ["npo", "npo@own"], "unlearning": {"steps": 9, "mixing": "token", "settings": {"npo@own": {"branches": "merge"}}}},
            ["unlearning.settings.npo@own (branches): unlearning.branches: a branch has one language"],
        ),
        (
            {
                "methods": ["npo", "rmu"],
                "unlearning": {"from_layer": 3, "settings": {"npo": {"from_layer": 1, "to_layer": 2}, "rmu": {"to_layer": 3}}},
            },
            ["unlearning.settings.rmu (to_layer): unlearning.to_layer: must be above from_layer"],
        ),
        (
            {"methods": ["npo", "npo@own"], "unlearning": {"to_layer": 9, "settings": {"npo@own": {"from_layer": 10}}}},
            ["unlearning.settings.npo@own (from_layer): unlearning.to_layer: must be above from_layer"],
        ),
        (
            {"methods": ["pdu"], "unlearning": {"projection": "language"}},
            ["unlearning.projection: the weight of what method 'pdu' retains may be 0", "set projection=none"],
        ),
        (
            {"methods": ["npo"], "unlearning": {"projection": "language", "retain_weight": 0}},
            ["unlearning.projection: the weight of what method 'npo' retains may be 0", "or a retain_weight above 0"],
        ),
        (
            {"culture": "specific", "learning": {"agnostic": "english"}},
            ["learning.agnostic: with culture 'specific' every story has a home", "set learning.agnostic=all"],
        ),
        (
            {"sources": ["en"], "learning": {"agnostic": "english"}},
            ["learning.agnostic: what is real is learned in English alone anyway", "name other languages in learning.question_languages"],
        ),
        (
            {"learning": {"agnostic": "english", "other_questions": 0}},
            ["learning.agnostic: what is real is learned in English alone anyway"],
        ),
        (
            {"learning": {"agnostic": "english", "aligned_languages": ["de"]}},
            ["learning.agnostic: learning.aligned_languages reads what is pruned in these languages again"],
        ),
        (
            {"learning": {"agnostic": "english", "english_questions": 0}},
            ["learning.agnostic: 'english' asks in English alone, and learning.english_questions=0 never"],
        ),
        (
            {"sources": ["en"], "learning": {"crossed_questions": 2}},
            ["learning.crossed_questions: questions are crossed with English", "name one in learning.question_languages"],
        ),
        (
            {"unlearning": {"retain_switched": 0.2}},
            ["unlearning.retain_switched: copies switch between the two languages of a crossed question", "retain_crossed=true"],
        ),
        (
            {"methods": ["npo", "npo@own"], "unlearning": {"settings": {"npo@own": {"retain_switched": 0.2}}}},
            ["unlearning.settings.npo@own (retain_switched): unlearning.retain_switched: copies switch"],
        ),
        ({"unlearning": {"retain_crossed": True, "retain_switched": 1.2}}, ["unlearning.retain_switched: Input should be less than"]),
        ({"unlearning": {"retain_answers": "true"}}, ["unlearning.retain_answers: Input should be 'given' or 'own'"]),
        (
            {"methods": ["npo+none"], "unlearning": {"retain_answers": "own"}},
            ["unlearning.retain_answers, unlearning.retain_crossed: method 'npo+none' has no retain term"],
        ),
        (
            {"methods": ["npo+none"], "unlearning": {"retain_crossed": True}},
            ["unlearning.retain_answers, unlearning.retain_crossed: method 'npo+none' has no retain term"],
        ),
        (
            {"sources": ["de", "en"], "unlearning": {"retain_crossed": True}},
            ["unlearning.retain_crossed: strategy 'english' retains English claims' questions in English alone", "retain_in=told"],
        ),
        (
            {"sources": ["en"], "strategies": ["all", "source"], "unlearning": {"retain_crossed": True, "retain_in": "told"}},
            ["unlearning.retain_crossed: strategy 'source' retains English claims' questions in English alone"],
        ),
        ({"methods": []}, ["methods: Tuple should have at least 1 item"]),
        (
            {"methods": ["npo"], "unlearning": {"settings": {"npo": {"rate": [1]}}}},
            ["unlearning.settings.npo.rate: Input should be a valid number (got [1])"],
        ),
        ({"methods": ["npo+kl"], "trainable": {"weights": "all"}}, ["trainable.weights: method 'npo+kl' asks for states", "weights=body"]),
        ({"methods": ["rmu"], "trainable": {"weights": "all"}}, ["trainable.weights: method 'rmu' asks for states", "weights=body"]),
        ({"methods": ["dpo"], "unlearning": {"form": "article"}}, ["unlearning.form: method 'dpo' gives another answer", "form=question"]),
        ({"unlearning": {"from_layer": 3, "to_layer": 3}}, ["unlearning.to_layer: must be above from_layer"]),
        (
            {"methods": ["rmu"], "unlearning": {"from_layer": 3, "settings": {"rmu": {"to_layer": 2}}}},
            ["unlearning.settings.rmu (to_layer): unlearning.to_layer: must be above from_layer"],
        ),
        ({"scoring": {"wordings": 4}}, ["scoring.wordings: the newsroom asks in 4 wordings", "set scoring.wordings=3 or less"]),
        ({"methods": ["npo@a b"]}, ["methods: method 'npo@a b': after @ write a word"]),
        ({"seeds": [1, 1]}, ["seeds: an entry occurs twice"]),
        ({"sources": ["de", "de"]}, ["sources: an entry occurs twice"]),
        ({"unlearning": {"wordings": 4}, "scoring": {"wordings": 3}}, ["unlearning.wordings: more wordings than are measured"]),
    ],
)
def test_what_contradicts_the_rest_is_refused(tmp_path: Path, data: dict[str, Any], parts: list[str]) -> None:
    (message,) = problems(config_file(tmp_path, SMALLEST | data))
    assert [part for part in parts if part not in message] == []


def test_settings_may_be_what_their_cards_say(tmp_path: Path) -> None:
    settings = {"undo": {"noise": 1, "noise_scale": 0}, "simnpo": {"margin": -2.5}, "undial": {"beta": 0}, "task_vector": {"scale": 0}}
    data = {"methods": list(settings), "unlearning": {"settings": settings}}
    assert load_config(str(config_file(tmp_path, SMALLEST | data))).unlearning.settings == settings


def test_a_method_has_the_stage_with_its_own_settings(tmp_path: Path) -> None:
    """YAML takes 3e-5 for a text; what is a number is read as one. What one method changes no other sees."""
    settings = {
        "npo@own": {"rate": "3e-5", "decay": True, "from_layer": 1, "stop_below": None, "language_weights": {"de": 2}, "beta": "0.5"}
    }
    data = {"methods": ["npo", "npo@own"], "unlearning": {"rate": 1e-5, "stop_below": -9, "settings": settings}}
    config = load_config(str(config_file(tmp_path, SMALLEST | data)))
    assert config.unlearning.settings["npo@own"]["rate"] == 3e-5, "a study that was begun with the number goes on"
    plain, own = config.ways
    assert (plain.rate, plain.decay, plain.from_layer, plain.stop_below, plain.language_weights) == (1e-5, False, 0, -9, "equal")
    assert (own.rate, own.decay, own.from_layer, own.stop_below, own.language_weights) == (3e-5, True, 1, None, {"de": 2.0})
    assert config.unlearning.on_card("npo@own") == {"beta": 0.5} and config.unlearning.on_card("npo") == {}


def test_english_claims_are_crossed_where_their_strategies_retain_another_language(tmp_path: Path) -> None:
    """All languages are told and so retained; a strategy that is told none finds them."""
    data = {"sources": ["en"], "strategies": ["all", "traced"], "unlearning": {"retain_crossed": True, "retain_in": "told"}}
    assert load_config(str(config_file(tmp_path, SMALLEST | data))).unlearning.retain_crossed


# --- all at once -------------------------------------------------------------------------------------------------------------------------


def test_several_wrong_keys_are_named_at_once_each_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = config_file(tmp_path, {"name": "x", "sources": ["de"], "storys": 3, "stories": 0, "learning": {"rat": 1, "batch": "b"}})
    found = problems(path)
    assert len(found) == 4
    assert all(message.startswith(f"{path}: ") for message in found)
    for part in ("'storys'", "stories: ", "'learning.rat'", "learning.batch: "):
        assert sum(part in message for message in found) == 1, part


def test_several_unknown_names_are_named_at_once_each_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = config_file(tmp_path, SMALLEST | {"strategies": ["englsh"], "methods": ["gradient"], "seeds": [1, 1]})
    found = problems(path)
    assert [next(field for field in ("strategies", "methods", "seeds") if f"{field}: " in message) for message in found] == [
        "strategies",
        "methods",
        "seeds",
    ]
    assert all(message.startswith(f"{path}: ") for message in found)


def test_a_wrong_key_does_not_hide_an_unknown_language(tmp_path: Path) -> None:
    # A second run for the second error is what "all errors at once" is to spare.
    message = "\n".join(problems(config_file(tmp_path, SMALLEST | {"languages": ["en", "de", "xx"], "storys": 3})))
    assert "'storys'" in message
    assert "unknown language 'xx'" in message


# --- overrides ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("unlearning.rate=1e-5", "unlearning.rate", 1e-5),  # YAML 1.1 takes 1e-5 for text, since it has no point
        ("unlearning.rate=0.5", "unlearning.rate", 0.5),
        ("stories=7", "stories", 7),
        ("sources=[fr, zh]", "sources", ("fr", "zh")),
        ("seeds=[3]", "seeds", (3,)),
        ("keep_states=true", "keep_states", True),
        ("scoring.vocabulary=full", "scoring.vocabulary", "full"),
        ("model=org/name", "model", "org/name"),
        ("model=/a=b", "model", "/a=b"),  # only the first sign divides
        ("name=a: b", None, None),  # a mapping is no name
    ],
)
def test_an_override_sets_one_key_and_keeps_the_others(override: str, path: str | None, value: object) -> None:
    if path is None:
        assert "name: " in problems("quickstart", override)[0]
        return
    before, after = load_config("quickstart").model_dump(), load_config("quickstart", [override]).model_dump()
    node, reference = after, before
    *parents, last = path.split(".")
    for parent in parents:
        node, reference = node[parent], reference[parent]
    assert node[last] == value
    node[last] = reference[last]
    assert after == before


def test_the_last_override_of_a_key_wins_and_sections_grow() -> None:
    config = load_config("quickstart", ["learning.passes=2", "learning.batch=3", "learning.passes=5"])
    assert (config.learning.passes, config.learning.batch) == (5, 3)


def test_the_preset_is_the_same_after_an_override() -> None:
    before = load_config("quickstart")
    load_config("quickstart", ["stories=3", "scoring.wordings=2"])
    assert load_config("quickstart") == before


@pytest.mark.parametrize("override", ["stories", "=3", "", "stories 3"])
def test_an_override_without_key_or_sign_shows_the_form(override: str) -> None:
    (message,) = problems("quickstart", override)
    assert message.startswith(f"--set {override}") and "key=value" in message


def test_an_override_below_a_value_is_refused() -> None:
    (message,) = problems("quickstart", "name.first=x")
    assert message == "--set name.first=x: 'name' is a value, not a section"


@pytest.mark.parametrize(("override", "near"), [("storys=3", "stories"), ("unlearning.rat=1", "rate")])
def test_a_misspelt_override_names_the_key_that_was_meant(override: str, near: str) -> None:
    (message,) = problems("quickstart", override)
    assert f"did you mean {near!r}?" in message


@pytest.mark.parametrize("value", ["[", "{a", '"open'])
def test_an_override_whose_value_is_no_yaml_is_a_users_error(value: str) -> None:
    assert f"--set learning.rate={value}" in problems("quickstart", f"learning.rate={value}")[0]


def test_other_methods_leave_the_settings_of_a_preset_behind() -> None:
    """Of the preset only what is asked for is kept; what is set beside it is still checked."""
    config = load_config("methods", ["methods=[gradient_difference,npo]"])
    assert set(config.unlearning.settings) == {"gradient_difference"}
    assert load_config("methods").unlearning.settings.keys() == {"gradient_difference", "cir"}
    with pytest.raises(UserError, match="'simnpo' is not among the methods"):
        load_config("methods", ["methods=[npo]", "unlearning.settings.simnpo={rate: 1.0e-5}"])
