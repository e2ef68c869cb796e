"""The band to train: shares and bands by hand, conflict against exact gradients, then a tiny model and a study from end to end."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from handmade_claims import CLAIMS, LANGUAGES, STORIES, TOLD, teach
from handmade_study import SETTINGS
from hypothesis import given
from hypothesis import strategies as st
from tiny import sharp
from typer.testing import CliRunner

from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.layers import locate_claims, weights_before
from polyunlearn.cli import app
from polyunlearn.corpus.claims import write_claims
from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate
from polyunlearn.models import vocabulary
from polyunlearn.models.body import Body
from polyunlearn.models.forward import label_log_probs
from polyunlearn.models.loading import LoadedModel, load_model
from polyunlearn.models.trainable import TrainablePlan, make_trainable, snapshot
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.layers import trace_study
from polyunlearn.study.processes import Silent
from polyunlearn.study.run import run_study
from polyunlearn.study.store import Store
from polyunlearn.tracing.band import HOLDS, SHARED, extended_down, lens_shares, make_layer_plan, patched_shares, smallest_band
from polyunlearn.tracing.conflict import Conflict, conflict, layer_sketches
from polyunlearn.tracing.coverage import claim_questions
from polyunlearn.tracing.layers import PARALLEL_TEXTS, LayerTrace, read_parallel, surely_raised, trace_layers
from polyunlearn.tracing.patching import layer_of
from polyunlearn.tracing.similarity import Alike, Texts, mute_layers

NO_CONFLICT = Conflict((None,) * 4, {}, {})


def _meaning(*values: float) -> list[Alike]:
    return [Alike(1, 0, own, 1 - own, 0, 0.1, 0.5, 2, 0.9, 0.1) for own in values]


# Shares and bands by hand.


def test_shares_of_layers_are_the_mean_of_both_orders() -> None:
    """Bottom up 0, .2, 1 are steps of 0, .2, .8; top down .4, .6, 1 are .4, .2, .4: means .2, .2, .6. A second language with all in the first layer
    (1, 0, 0 both ways): .6, .1, .3. No language, no shares."""
    one = patched_shares({"en": [0, 0.2, 1]}, {"en": [0.4, 0.6, 1]})
    assert one == pytest.approx([0.2, 0.2, 0.6])
    assert patched_shares({"en": [0, 0.2, 1], "ur": [1, 1, 1]}, {"en": [0.4, 0.6, 1], "ur": [1, 1, 1]}) == pytest.approx([0.6, 0.1, 0.3])
    assert patched_shares({}, {}) == []


def test_shares_of_the_lens_are_its_rises() -> None:
    """Edges 1, 0.5, 3 rise by 1, nothing, 2.5: 2/7, 0, 5/7. A language whose last interval reaches 0 does not count."""

    def curve(*values: float, low: float = 0.1) -> list[Estimate]:
        return [Estimate(own, low, own + 1, 4) for own in values]

    assert lens_shares({"en": curve(1, 0.5, 3), "de": curve(9, 9, 9, low=0.0)}) == pytest.approx([2 / 7, 0, 5 / 7])
    assert lens_shares({"de": curve(1, 2, low=-1)}) == []


def test_the_smallest_band() -> None:
    """0.8 of 1: the middle two; falls count as nothing; of two alike the lower; all at one layer; nothing."""
    assert HOLDS == 0.8
    assert smallest_band([0.1, 0.5, 0.3, 0.1]) == (1, 3)
    assert smallest_band([-3, 0.5, 0.5, -1]) == (1, 3)
    assert smallest_band([0.4, 0.4, 0.2, 0.4, 0.4], holds=0.4) == (0, 2)
    assert smallest_band([0, 0, 0, 1]) == (3, 4)
    assert smallest_band([0, -1]) is None and smallest_band([]) is None


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12))
def test_no_shorter_band_holds_as_much(shares: list[float]) -> None:
    found, positive = smallest_band(shares), [max(0.0, own) for own in shares]
    if found is None:
        assert sum(positive) == 0
        return
    first, end = found
    assert sum(positive[first:end]) >= (HOLDS - 1e-6) * sum(positive)
    shorter = end - first - 1
    assert all(sum(positive[at : at + shorter]) < HOLDS * sum(positive) for at in range(len(shares) - shorter + 1))


def test_the_band_is_extended_down_while_meaning_is_shared() -> None:
    """0.9 of the most, 0.8, is 0.72: layer 2 has more, layer 1 less, although layer 0 has."""
    assert SHARED == 0.9
    assert extended_down(3, [0.8, 0.71, 0.73, 0.1]) == 2
    assert extended_down(2, [0.8, 0.8, 0.1, 0.1]) == 0
    assert extended_down(3, [0, 0, 0, 0]) == 3 and extended_down(0, [0.5]) == 0


def test_the_plan_says_why() -> None:
    found = make_layer_plan(
        [0, 0, 0.9, 0.1], _meaning(0.1, 0.8, 0.8, 0.2), Conflict((0.5,) * 4, {"en": (0.9, 0.2, 0.4, 0.9)}, {}), "patching"
    )
    assert (found.from_layer, found.to_layer, found.core) == (1, 3, (2, 3))
    assert found.overrides == "--set unlearning.from_layer=1 --set unlearning.to_layer=3"
    first, second, third = found.reasons
    assert first.endswith(", 90% is the work of layer 2; no fewer in a row hold 80%.")
    assert second.startswith("In layer 1, below") and "0.80 of the variance" in second
    assert "+0.30 (from +0.20 to +0.40)" in third
    assert found.checked(0.5).reasons[-1] == "With layer 2 put back to the weights of the model before, 50% of the rise is gone."
    plain = make_layer_plan([0, 0, 0.9, 0.1], (), NO_CONFLICT, "lens")
    assert (plain.from_layer, plain.to_layer) == (2, 3) and "--before" in plain.reasons[1]


def test_where_nothing_is_found_all_layers_train() -> None:
    found = make_layer_plan([], _meaning(1, 1, 1, 1), NO_CONFLICT, "patching")
    assert (found.from_layer, found.to_layer, found.core) == (0, 4, None) and "Nothing of the claims" in found.reasons[0]


# Conflict.


def test_pairs_within_a_band() -> None:
    """Layers 1 and 2, of which only the second trains for English and Urdu: German and English (.2 + .4) / 2, German and Urdu -.1; and against what must stay."""
    de_en, de_ur, en_ur = (0.9, 0.2, 0.4, 0.9), (0.9, -0.3, 0.1, 0.9), (None, None, 0.5, None)
    pairs = {"de": {"en": de_en, "ur": de_ur}, "en": {"de": de_en, "ur": en_ur}, "ur": {"de": de_ur, "en": en_ur}}
    own = Conflict((None,) * 4, {"de": (0, 0.6, 0.8, 0)}, pairs)
    found = own.pairs_within(1, 3)
    assert found["de"] == pytest.approx({"en": 0.3, "ur": -0.1, "retain": 0.7})
    assert found["en"] == pytest.approx({"de": 0.3, "ur": 0.5}) and found["ur"] == pytest.approx({"de": -0.1, "en": 0.5})
    assert own.pairs_within(3, 3) == {} == NO_CONFLICT.pairs_within(0, 4)
    plan = make_layer_plan([0, 0.5, 0.5, 0], (), own, "patching")
    assert plan.reasons[1].endswith(
        "+0.23 on average, and least, -0.10, of German and Urdu; below 0, unlearning in one works against the other."
    )


def test_conflict_against_exact_gradients(gemma_folder: Path) -> None:
    """Layers 2 and 3 train. In 2^16 buckets a cosine's standard error is 0.0055."""
    loaded = sharp(gemma_folder)
    parameters = make_trainable(loaded.model, TrainablePlan(from_layer=2))
    asked = {tag: claim_questions(CLAIMS[:6], tag, loaded.encoder) for tag in LANGUAGES}
    retained = claim_questions(CLAIMS[6:], "en", loaded.encoder)
    found = conflict(loaded.body, loaded.head, parameters, asked, retained, 4)
    assert all(own.grad is None for own in parameters.values())

    def exact(sequences: list, layer: int) -> torch.Tensor:  # type: ignore[type-arg]
        names = [name for name in sorted(parameters) if layer_of(name) == layer]
        total = torch.cat(label_log_probs(loaded.body, loaded.head, sequences)).sum()
        return torch.cat([own.flatten() for own in torch.autograd.grad(total, [parameters[name] for name in names])])

    for layer in (2, 3):
        gradients = {name: exact(own, layer) for name, own in (asked | {"retain": retained}).items()}
        cosine = torch.nn.functional.cosine_similarity
        assert found.between[layer] == pytest.approx(cosine(gradients["en"], gradients["de"], 0).item(), abs=5 * 0.0055)
        for tag in LANGUAGES:
            assert found.pairs["en"]["de"][layer] == found.between[layer] == found.pairs["de"]["en"][layer]
            assert found.against[tag][layer] == pytest.approx(cosine(gradients[tag], gradients["retain"], 0).item(), abs=5 * 0.0055)
    assert found.between[:2] == (None, None) == found.against["en"][:2]
    assert conflict(loaded.body, loaded.head, parameters, asked, [], 4).against == {}
    assert conflict(loaded.body, loaded.head, parameters, {"en": asked["en"]}, retained, 4).between == (None,) * 4


def test_claims_in_full_conflict_with_themselves(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    parameters = make_trainable(loaded.model, TrainablePlan())
    asked = claim_questions(CLAIMS[:4], "de", loaded.encoder)
    found = conflict(loaded.body, loaded.head, parameters, {"de": asked}, asked, 4)
    assert found.against["de"] == pytest.approx([1, 1, 1, 1])
    assert set(layer_sketches(loaded.body, loaded.head, parameters, asked)) == {0, 1, 2, 3}


# A model from end to end.


@pytest.fixture(scope="module")
def planted(gemma_folder: Path) -> tuple[LoadedModel, dict[str, torch.Tensor]]:
    """A tiny model taught German claims, and its layers' weights before."""
    loaded = sharp(gemma_folder)
    before = {name: own.detach().clone() for name, own in loaded.model.named_parameters()}
    teach(loaded)
    return loaded, {name: own for name, own in before.items() if layer_of(name) is not None}


def _trace(loaded: LoadedModel, before: dict[str, torch.Tensor] | None, parallel: Texts | None = None) -> LayerTrace:
    parameters = make_trainable(loaded.model, TrainablePlan())
    retained = claim_questions(CLAIMS[TOLD:], "en", loaded.encoder)
    return trace_layers(
        Body(loaded.model), loaded.head, loaded.encoder, parameters, CLAIMS[:TOLD], LANGUAGES, retained, before, parallel=parallel
    )  # fmt: skip


@pytest.mark.parametrize(("first", "end"), [(2, 3), (1, 2)])
def test_the_band_that_was_planted_is_found(gemma_folder: Path, first: int, end: int) -> None:
    """Only layers `first` up to `end` are trained on the claims: their shares are all, the core is in them, and putting them back takes all away."""
    loaded = sharp(gemma_folder)
    before = {name: own.detach().clone() for name, own in loaded.model.named_parameters() if layer_of(name) is not None}
    _teach_band(loaded, first, end)
    state = snapshot(dict(loaded.model.named_parameters()))
    found = _trace(loaded, before)
    assert all(torch.equal(own, state[name]) for name, own in loaded.model.named_parameters()), "tracing changes no weight"
    assert found.plan.core == (first, end)
    assert [own == pytest.approx(0, abs=1e-5) for own in found.plan.shares] == [layer != first for layer in range(4)]
    assert found.plan.gone == pytest.approx(1, abs=1e-5) and found.patching is not None
    assert found.patching.raised["de"].low > 1
    assert found.patching.brought["de"][:first] == (0,) * first and found.patching.brought["de"][-1] == pytest.approx(1, abs=1e-5)
    assert found.patching.lost["de"][end - 1] == pytest.approx(1, abs=1e-4)


def _teach_band(loaded: LoadedModel, first: int, end: int) -> None:
    """Train the layers of a band alone on the German claims."""
    asked = claim_questions(CLAIMS[:TOLD], "de", loaded.encoder)
    loaded.model.requires_grad_(False)
    band = [own for name, own in loaded.model.named_parameters() if (layer := layer_of(name)) is not None and first <= layer < end]
    for own in band:
        own.requires_grad_(True)
    adam = torch.optim.AdamW(band, lr=3e-3, weight_decay=0)
    for _ in range(40):
        (-torch.cat(label_log_probs(loaded.body, loaded.head, asked)).mean()).backward()  # type: ignore[no-untyped-call]
        adam.step()
        adam.zero_grad()


def test_shares_add_up_and_the_order_of_claims_is_irrelevant(planted: tuple[LoadedModel, dict[str, torch.Tensor]]) -> None:
    loaded, before = planted
    found = _trace(loaded, before)
    assert sum(found.plan.shares) == pytest.approx(1, abs=1e-4) and found.plan.measure == "patching"
    assert found.lens["de"][-1].mean > 2 and found.readable["de"][-1] > -0.7
    assert len(found.alike) == 4 and all(0 <= own.meaning <= 1 for own in found.alike)
    assert found.plan == _trace(loaded, before).plan


def test_without_a_model_before_the_lens_decides(planted: tuple[LoadedModel, dict[str, torch.Tensor]]) -> None:
    found = _trace(planted[0], None)
    assert found.patching is None and found.plan.measure == "lens" and found.plan.gone is None and found.plan.core is not None


def test_languages_are_compared_over_parallel_texts(planted: tuple[LoadedModel, dict[str, torch.Tensor]]) -> None:
    """Instead of over the four claims' questions; the claims' own curves stay, and so does the band where no meaning decides. What is said the same in both is
    wholly alike."""
    loaded, _ = planted
    plain = _trace(loaded, None)
    assert (plain.over.texts, plain.over.languages, plain.over.parallel) == (TOLD, LANGUAGES, False)
    same = [own.fake_article[0] for own in (story.editions["en"] for story in STORIES[:5])]
    found = _trace(loaded, None, {"en": same, "de": same})
    assert (found.over.texts, found.over.languages, found.over.parallel) == (5, LANGUAGES, True)
    assert all(own.cka == pytest.approx(1) and own.bias == pytest.approx(0, abs=1e-6) and own.language == 0 for own in found.alike)
    assert found.lens == plain.lens and found.conflict == plain.conflict and found.alike != plain.alike
    assert all(own.specific == pytest.approx(0, abs=1e-6) for own in found.alike) and found.mute == mute_layers(found.alike)


def _flores(path: Path, columns: dict[str, str], rows: int) -> Path:
    path.write_text(
        "\n".join(json.dumps({name: f"{said} {row}." for name, said in columns.items()}) for row in range(rows)), encoding="utf-8"
    )
    return path


def test_a_parallel_file_is_read(tmp_path: Path) -> None:
    """In the languages that are asked, in their order; of many texts as many as are read, in the order of the file, row by row the same in all."""
    path = _flores(tmp_path / "flores.jsonl", {"deu_Latn": "Satz", "eng_Latn": "Sentence", "rus_Cyrl": "Предложение"}, 130)
    found = read_parallel(path, ["en", "ur", "de"])
    assert list(found) == ["en", "de"] and [len(own) for own in found.values()] == [PARALLEL_TEXTS] * 2
    numbers = [int(own.split()[1][:-1]) for own in found["en"]]
    assert numbers == sorted(numbers) == [int(own.split()[1][:-1]) for own in found["de"]] and numbers != list(range(PARALLEL_TEXTS))
    with pytest.raises(UserError, match=r"flores.jsonl: of en, ur, .* it has en; give a file with at least two"):
        read_parallel(path, ["en", "ur"])
    with pytest.raises(UserError, match="has 2 texts in each language; give at least 3"):
        read_parallel(_flores(tmp_path / "few.jsonl", {"en": "Sentence", "de": "Satz"}, 2), ["en", "de"])


def test_a_single_claim_cannot_be_read(planted: tuple[LoadedModel, dict[str, torch.Tensor]]) -> None:
    loaded, _ = planted
    parameters = make_trainable(loaded.model, TrainablePlan())
    with pytest.raises(UserError, match="no language has two claims"):
        trace_layers(Body(loaded.model), loaded.head, loaded.encoder, parameters, CLAIMS[:1], LANGUAGES, [])


# Owners.


def test_an_owners_claims_are_located(
    planted: tuple[LoadedModel, dict[str, torch.Tensor]], gemma_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny vocabulary is sampled as thinly as a large one is, so that tokens of what is retained are in none of the answers."""
    monkeypatch.setattr(vocabulary, "SAMPLE", 2)
    loaded, _ = planted
    state = snapshot(dict(loaded.model.named_parameters()))
    before = sharp(gemma_folder)
    found = locate_claims(loaded, CLAIMS, Asking(), before)
    assert found is not None and "de" in found.languages and found.layers.claims == TOLD
    assert found.layers.patching is not None and set(found.layers.patching.brought) >= {"de"}
    assert found.layers.conflict.against, "a true article is retained"
    assert all(torch.equal(own, state[name]) for name, own in loaded.model.named_parameters())
    assert locate_claims(before, CLAIMS[TOLD:], Asking(alternatives=4)) is None


def test_a_model_before_must_fit(planted: tuple[LoadedModel, dict[str, torch.Tensor]], llama_folder: Path) -> None:
    loaded, _ = planted
    with pytest.raises(UserError, match="another shape"):
        weights_before(loaded, load_model(str(llama_folder)))
    with pytest.raises(UserError, match="has the weights of"):
        weights_before(loaded, loaded)


def test_the_command_over_parallel_text(planted: tuple[LoadedModel, dict[str, torch.Tensor]], gemma_folder: Path, tmp_path: Path) -> None:
    """What is printed, what is written, and what is refused before a model is loaded."""
    model, claims, markdown = tmp_path / "model", tmp_path / "claims.jsonl", tmp_path / "trace.md"
    shutil.copytree(gemma_folder, model)
    planted[0].model.save_pretrained(model)
    write_claims(CLAIMS, claims)
    texts = _flores(tmp_path / "flores.jsonl", {"eng_Latn": "Sentence", "deu_Latn": "Satz"}, 6)
    arguments = ["trace", str(model), str(claims), "--wordings", "1", "--parallel", str(texts), "--markdown", str(markdown)]
    result = CliRunner().invoke(app, arguments, terminal_width=200)
    assert result.exit_code == 0, result.output
    written = markdown.read_text(encoding="utf-8")
    assert "Over 6 parallel texts in en, de." in written and "MUTE (arXiv 2602.22562)" in written and "| asked in | wording 1 |" in written
    assert "How the claims' gradients stand to each other" in result.output
    for wrong, said in (
        (
            ["trace", "nowhere", str(claims), "--language", "de", "--parallel", str(texts)],
            "of de, which the claims are asked in, it has de",
        ),
        (["trace", "nowhere", "--wordings", "2"], "--wordings are for a model"),
    ):
        refused = CliRunner().invoke(app, wrong)
        assert isinstance(refused.exception, UserError) and said in str(refused.exception)


# Studies.


@pytest.fixture(scope="module")
def study(gemma_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("layers") / "study"
    run_study(StudyConfig.model_validate({**SETTINGS, "model": str(gemma_folder)}), out, Silent())
    return out


def test_a_study_is_traced(study: Path) -> None:
    """Learning trained layers 2 and 3: below, patching brings exactly nothing and the band lies in them. Weights that are gone are trained again alike."""
    found = trace_study(study, ["de"], [0], ["all"], Silent())
    assert list(found.located) == ["learned-de-seed0"] and list(found.depths) == ["unlearned-de-all-gradient_difference-seed0"]
    own = found.located["learned-de-seed0"].layers
    assert own.patching is not None and own.patching.raised["de"].low > 0
    assert own.patching.brought["de"][:2] == (0, 0) and own.plan.core is not None and own.plan.core[0] >= 2
    depth = found.depths["unlearned-de-all-gradient_difference-seed0"]["de"]
    assert depth is not None and 0 <= depth <= 1
    again = trace_study(study, ["de"], [], [], Silent())
    assert again.depths == {} and again.located == found.located


def test_what_a_study_lacks_is_said(study: Path, tmp_path: Path) -> None:
    for arguments, said in (((["ur"], [], []), "no source ur"), (([], [7], []), "no seed 7"), (([], [], ["source"]), "no strategy source")):
        with pytest.raises(UserError, match=said):
            trace_study(study, *arguments, Silent())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="holds no study"):
        trace_study(tmp_path, [], [], [], Silent())
    unfinished = tmp_path / "unfinished"
    (unfinished / "cells").mkdir(parents=True)
    (unfinished / "manifest.json").write_bytes((study / "manifest.json").read_bytes())
    with pytest.raises(UserError, match="is not finished"):
        trace_study(unfinished, [], [], [], Silent())
    assert Store(unfinished).config().name == "layers"


def test_languages_of_few_claims_move_no_layers() -> None:
    """Of twelve German and one French claim German alone counts, though both surely rose; of one each, both."""
    many, one, none = Estimate(2.0, 1.5, 2.5, 12), Estimate(1.0, 1.0, 1.0, 1), Estimate(0.1, -0.1, 0.3, 12)
    assert surely_raised({"de": many, "fr": one, "ur": none}) == ["de"]
    assert surely_raised({"de": replace(many, n=1), "fr": one}) == ["de", "fr"] and surely_raised({}) == []
