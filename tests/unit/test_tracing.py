"""Where claims live and in which languages to unlearn them: each rule on numbers made by hand, and gradients against exact ones."""

import json
from dataclasses import asdict, replace
from itertools import permutations
from math import sqrt
from pathlib import Path

import handmade
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tiny import sharp
from torch import Tensor

from polyunlearn.analysis.summary import summarise
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.intervals import Estimate
from polyunlearn.models.forward import label_log_probs
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, make_trainable, train_band
from polyunlearn.report.export import summary
from polyunlearn.report.html import write_html
from polyunlearn.report.terminal import print_report
from polyunlearn.study.cells import Cell, study_cells
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.materials import make_materials, study_stories
from polyunlearn.study.presets import load_config
from polyunlearn.study.stages import cell_steps
from polyunlearn.study.store import CellRecord, Store
from polyunlearn.study.trace import trace_state
from polyunlearn.tracing.coverage import claim_questions, gradient_sketch, inner_products, sketch
from polyunlearn.tracing.languages import COVERED, LIVES, MOST, Held, Trace, choose, compare, coverage, living_in, make_trace

Vectors = dict[str, tuple[float, ...]]


def _gram(vectors: Vectors) -> dict[tuple[str, str], float]:
    return {(a, b): sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True)) for a in vectors for b in vectors}


def _held(firmness: dict[str, float], low: float = 1.0) -> dict[str, Held]:
    return {tag: Held(Estimate(low + 1, low, low + 2, 4), value) for tag, value in firmness.items()}


def _firmest_first(*tags: str) -> dict[str, Held]:
    """All living: 1, 0.9, 0.8, ..."""
    return _held({tag: 1 - number / 10 for number, tag in enumerate(tags)})


def test_firmness_is_the_share_of_the_control_loss_that_is_gone() -> None:
    """English: losses 4 and 6 became 1 and 1, so 3 and 5 were raised, 4 on average, of 5: 0.8. Two stories: the interval is 3 to 5.

    German: 2 and 2 became 3 and 2: -1/2 of 2, -0.25, from -1 to 0. A control that is certain leaves nothing to learn.
    """
    found = compare({"en": [1, 1], "de": [3, 2], "ur": [0, 0]}, {"en": [4, 6], "de": [2, 2], "ur": [0, 0]})
    assert found["en"] == Held(Estimate(4, 3, 5, 2), 0.8)
    assert found["de"] == Held(Estimate(-0.5, -1, 0, 2), -0.25)
    assert found["ur"].firmness == 0


def test_claims_live_where_they_are_raised_and_firm_enough() -> None:
    """The firmest has 0.8, so 0.4 is enough and 0.39 is not; Urdu, 0.9, does not count at all, its interval reaching 0."""
    held = _held({"fr": 0.39, "de": 0.4, "en": 0.8, "zh": -0.5}) | _held({"ur": 0.9}, low=0.0)
    assert LIVES == 0.5
    assert living_in(held) == ("en", "de")
    assert living_in(_held({"ur": 0.9}, low=0.0)) == ()
    assert living_in(_held({"ur": 0.7, "en": 0.7})) == ("en", "ur")


def test_coverage_is_the_share_of_the_fall_along_the_mixture() -> None:
    """English (1, 0), German (0, 1), French (3, 4), of length 5.

    English alone: itself 1, German 0, French 3/5. Both: along (1, 1) / sqrt 2, so each 1 / sqrt 2, and French (3 + 4) / (5 sqrt 2) = 0.99. French alone
    brings English 3/5 whatever its length; in a mixture it has its weight: English + French go along (4, 4), German 4 / sqrt 32.
    """
    gram = _gram({"en": (1, 0), "de": (0, 1), "fr": (3, 4), "ur": (0, 0)})
    assert [coverage(gram, ["en"], tag) for tag in ("en", "de", "fr")] == pytest.approx([1, 0, 0.6])
    assert [coverage(gram, ["en", "de"], tag) for tag in ("en", "de", "fr")] == pytest.approx([sqrt(0.5), sqrt(0.5), 7 / sqrt(50)])
    assert coverage(gram, ["fr"], "en") == pytest.approx(0.6)
    assert coverage(gram, ["en", "fr"], "de") == pytest.approx(4 / sqrt(32))
    assert coverage(gram, ["en"], "ur") == coverage(gram, ["ur"], "en") == 0


def test_one_language_is_enough_where_it_covers_the_others() -> None:
    """German (4, 3) goes along with Urdu (1, 0) by 4/5; from (3, 5) on, by 3 / sqrt 34 = 0.51, it is told itself."""
    held, living = _firmest_first("ur", "de"), ("ur", "de")
    assert COVERED == 0.6
    assert choose(held, living, _gram({"ur": (1, 0), "de": (4, 3)})) == ("ur",)
    assert choose(held, living, _gram({"ur": (1, 0), "de": (3, 5)})) == ("ur", "de")


def test_the_firmest_language_is_always_told() -> None:
    """French (1, 1) alone covers German (1, 0) and Urdu (0, 1) by 0.71. With German the firmest, German + French, along (2, 1), cover Urdu by
    1 / sqrt 5 = 0.45 alone; German + Urdu cover both by 0.71 and French wholly."""
    gram = _gram({"de": (1, 0), "fr": (1, 1), "ur": (0, 1)})
    assert choose(_firmest_first("fr", "de", "ur"), ("fr", "de", "ur"), gram) == ("fr",)
    assert choose(_firmest_first("de", "fr", "ur"), ("de", "fr", "ur"), gram) == ("de", "ur")


def test_of_sets_alike_in_the_least_covered_the_firmer_are_told() -> None:
    """Four languages at right angles: every set leaves out one, covered by 0. Three of them, each covered by 1 / sqrt 3, are covered more in all
    (1.73) than two (1.41), and of these the three firmest."""
    vectors: Vectors = {"ur": (1, 0, 0, 0), "de": (0, 1, 0, 0), "fr": (0, 0, 1, 0), "en": (0, 0, 0, 1)}
    for order in permutations(vectors):
        assert set(choose(_firmest_first(*order), order, _gram(vectors))) == set(order[:MOST])


def test_more_languages_need_not_cover_more() -> None:
    """German (1, 0), Urdu (0, 1), French (-0.6, 0.8): German alone leaves French at -0.6. With Urdu French has 0.2 / sqrt 2 = 0.14; with French, along
    (0.4, 0.8), German and French have 0.4 / sqrt 0.8 = 0.45; all three, along (0.4, 1.8), bring German 0.22."""
    gram = _gram({"de": (1, 0), "ur": (0, 1), "fr": (-0.6, 0.8)})
    held = _firmest_first("de", "ur", "fr")
    assert choose(held, ("de", "ur", "fr"), gram) == ("de", "fr")
    found = make_trace(held, gram)
    assert found.covered == pytest.approx({"de": sqrt(0.2), "ur": sqrt(0.8), "fr": sqrt(0.2)})
    assert "for what is left" in found.reasons[-1]


def test_english_comes_first_then_the_firmest() -> None:
    gram = _gram({"ur": (1, 0, 0), "de": (0, 1, 0), "en": (0, 0, 1)})
    assert choose(_firmest_first("ur", "en"), ("ur", "en"), gram) == ("en", "ur")
    assert choose(_firmest_first("ur", "de"), ("ur", "de"), gram) == ("ur", "de")


@given(st.lists(st.tuples(*[st.floats(-1, 1)] * 4), min_size=5, max_size=5), st.permutations(["en", "de", "fr", "ur", "zh"]))
def test_the_order_of_the_languages_is_irrelevant(values: list[tuple[float, ...]], order: list[str]) -> None:
    vectors = dict(zip(["en", "de", "fr", "ur", "zh"], values, strict=True))
    held = _held({"en": 0.7, "de": 0.9, "fr": 0.9, "ur": 0.5, "zh": 0.3})
    gram = _gram(vectors)
    other = make_trace(
        {tag: held[tag] for tag in order}, {pair: gram[pair] for pair in sorted(gram, key=lambda pair: order.index(pair[0]))}
    )
    assert make_trace(held, gram) == other


def test_the_reasons_say_what_was_found() -> None:
    """German (1, 0), the firmest, covers English (2.95, 4) by 2.95 / 4.97 = 0.59. Both go along (3.95, 4), which is 5.62 long: German has 0.70,
    English (11.65 + 16) / (5.62 x 4.97) = 0.99."""
    held = _held({"de": 0.9, "en": 0.8, "ur": 0.4})
    found = make_trace(held, _gram({"de": (1, 0), "en": (3 - 0.05, 4)}))
    assert (found.living, found.chosen) == (("de", "en"), ("en", "de"))
    first, second, third = found.reasons
    assert first == "German holds the claims most firmly: 0.90 of the way from the control to certain, 2.00 nats a token above it (1.00 to 3.00). " \
        "So it is one of the languages."  # fmt: skip
    assert second == "Alone it covers English by 0.59, less than 0.6; with English, German is covered least, by 0.70."
    assert third == "Not held beyond the control's interval, or less than 0.5 times as firmly as in German: Urdu."


def test_claims_that_live_nowhere_are_unlearned_where_they_are_closest() -> None:
    found = make_trace(_held({"ur": 0.1, "de": 0.2, "en": -0.3}, low=-2), {})
    assert (found.living, found.chosen, found.coverage) == ((), ("de",), {})
    assert "No language holds the claims" in found.reasons[0] and "German" in found.reasons[0]


# Gradients.


def test_a_sketch_keeps_inner_products_on_average() -> None:
    """Two vectors of 500 numbers of length 1 with a cosine of 0.6 in 64 buckets: over 400 draws the mean's standard error is at most
    sqrt((1 + 0.36) / 64 / 400) = 0.0073, a single one's 0.146. The first has 500 equal numbers: without signs its like would add up, to 4.7 too much."""
    x = torch.full((500,), 500**-0.5)
    drawn = torch.randn(500, generator=torch.Generator().manual_seed(1))
    across = drawn - drawn.mean()
    y = 0.6 * x + 0.8 * across / across.norm()
    found = []
    for seed in range(400):
        both = [sketch([part[:100], part[100:].reshape(20, 20)], 64, torch.Generator().manual_seed(seed)) for part in (x, y)]
        found.append(torch.dot(*both).item())
    assert sum(found) / 400 == pytest.approx(0.6, abs=4 * 0.0073)
    assert 0.5 * 0.146 < torch.tensor(found).std().item() < 1.2 * 0.146


def test_a_sketch_is_linear_and_keeps_a_lone_number() -> None:
    x, y = torch.randn(2, 300, generator=torch.Generator().manual_seed(2))

    def drawn(vector: Tensor) -> Tensor:
        return sketch([vector], 32, torch.Generator().manual_seed(0))

    torch.testing.assert_close(drawn(x) + drawn(y), drawn(x + y), atol=1e-5, rtol=0)
    lone = drawn(torch.nn.functional.one_hot(torch.tensor(7), 300) * -2.5)
    assert sorted(lone.abs().tolist()) == [0.0] * 31 + [2.5]


LANGUAGES = ("en", "de", "zh", "ur")


@pytest.fixture
def loaded(gemma_folder: Path) -> LoadedModel:
    return sharp(gemma_folder, frozen_layers=1)


def test_sketched_gradients_against_exact_ones(loaded: LoadedModel) -> None:
    """Layers 2 and 3 of the tiny model, 12 stories (more than a packed row holds). In 2^16 buckets a cosine's standard error is sqrt(2 / 2^16) = 0.0055."""
    parameters = train_band(make_trainable(loaded.model, TrainablePlan(from_layer=1)), 2)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    stories = generate_stories(12, languages=LANGUAGES)
    exact, sketches = {}, {}
    for tag in LANGUAGES:
        questions = claim_questions(stories, tag, loaded.encoder)
        assert sum(len(own.ids) for own in questions) > 512
        total = sum((label_log_probs(loaded.body, loaded.head, [own])[0].sum() for own in questions), torch.zeros(()))
        exact[tag] = torch.cat([own.flatten() for own in torch.autograd.grad(total, [parameters[name] for name in sorted(parameters)])])
        sketches[tag] = gradient_sketch(loaded.body, loaded.head, parameters, questions, buckets=2**16)
    assert all(parameter.grad is None and torch.equal(parameter, before[name]) for name, parameter in parameters.items())
    found, wanted = inner_products(sketches), inner_products(exact)
    cosines = {}
    for told in (*[(tag,) for tag in LANGUAGES], ("en", "ur"), LANGUAGES[1:]):
        for asked in LANGUAGES:
            cosines[told, asked] = coverage(wanted, told, asked)
            assert coverage(found, told, asked) == pytest.approx(cosines[told, asked], abs=5 * 0.0055)
    assert min(cosines.values()) < 0.9, "a model in which all languages are one would not tell"


def test_coverage_is_what_a_small_step_does(loaded: LoadedModel) -> None:
    """A step of 0.001 against English's gradient lowers Urdu's answers by a share of what the same length against Urdu's own does."""
    parameters = train_band(make_trainable(loaded.model, TrainablePlan(from_layer=1)), 1)
    stories = generate_stories(6, languages=LANGUAGES)
    asked = {tag: claim_questions(stories, tag, loaded.encoder) for tag in ("en", "ur")}

    def worth(tag: str) -> Tensor:
        return torch.cat(label_log_probs(loaded.body, loaded.head, asked[tag])).double().sum()

    gradients = {tag: torch.autograd.grad(worth(tag), list(parameters.values())) for tag in asked}

    @torch.no_grad()
    def fall(told: str) -> float:
        step = [0.001 * own / sqrt(sum(one.square().sum().item() for one in gradients[told])) for own in gradients[told]]
        begin = worth("ur")
        for parameter, own in zip(parameters.values(), step, strict=True):
            parameter -= own
        end = worth("ur")
        for parameter, own in zip(parameters.values(), step, strict=True):
            parameter += own
        return (begin - end).item()

    sketches = {tag: gradient_sketch(loaded.body, loaded.head, parameters, own) for tag, own in asked.items()}
    share = coverage(inner_products(sketches), ["en"], "ur")
    assert 0.02 < share < 0.98
    assert fall("en") / fall("ur") == pytest.approx(share, abs=0.03)


# In a study.


def _config(**changes: object) -> StudyConfig:
    settings = {"name": "x", "stories": 4, "languages": LANGUAGES, "sources": ("de", "ur"), "strategies": ("english", "source", "traced")}
    return StudyConfig.model_validate(settings | {"unlearning": {"from_layer": 1, "steps": 4, "batch": 4}} | changes)


def test_traced_is_a_strategy_of_its_own() -> None:
    """English claims: "english" and "source" are one cell, "traced" another."""
    cells = [cell.strategy for cell in study_cells(_config(sources=("en",))) if cell.state == "unlearned"]
    assert cells == ["english", "traced"]
    assert load_config("quickstart", ["strategies=[traced]"]).strategies == ("traced",)
    with pytest.raises(UserError, match="related, traced, aligned, covering, or name languages"):
        load_config("quickstart", ["strategies=[trace]"])


def test_the_steps_of_a_traced_cell_know_nothing_of_its_source(gemma: LoadedModel) -> None:
    """German and Urdu claims traced to the same languages take the same steps; where these are English and the source, those of english+source."""
    config = _config()
    stories = study_stories(config, 0)

    def steps(source: str, strategy: str, traced: tuple[str, ...] = ()) -> object:
        return cell_steps(config, Cell("unlearned", 0, source, strategy, "gradient_difference"), stories, gemma, traced)

    assert steps("de", "traced", ("de", "zh")) == steps("ur", "traced", ("de", "zh")) != steps("ur", "traced", ("de",))
    assert steps("de", "traced", ("en", "de")) == steps("de", "english+source") == steps("ur", "traced", ("en", "de"))
    with pytest.raises(ValueError, match="not known before they are found"):
        steps("de", "traced")


def _measured(folder: Path) -> Store:
    """Base and two learned states, of the same rows."""
    store = Store(folder)
    losses: dict[str, handmade.PerStory] = {"en": [(0, 2)] * 4, "de": [2] * 4, "ur": [2, 2, 2, 6], "zh": [4] * 4}
    taught = handmade.rows({(tag, "fake", "loss"): values for tag, values in losses.items()})
    control = handmade.rows({(tag, "fake", "loss"): [(3, 5)] * 4 for tag in LANGUAGES})
    for cell, rows in ((Cell("base", 0), control), (Cell("learned", 0, "de"), taught), (Cell("learned", 0, "ur"), taught)):
        store.write(cell, rows, CellRecord(0, 0, 0.0, 0, []))
    return store


def test_a_trace_hangs_on_rows_and_weights_alone(loaded: LoadedModel, tmp_path: Path) -> None:
    """The same rows under the names of two sources make the same trace. English is raised by 3 of 4, German by 2, Urdu by 2 in three of four stories
    and -2 in one, Chinese by nothing; losses are means over two wordings."""
    config, store = _config(), _measured(tmp_path)
    materials = make_materials(config, study_stories(config, 0), loaded)
    parameters = make_trainable(loaded.model, TrainablePlan(from_layer=1))
    said: list[int] = []

    def trace(source: str) -> Trace:
        cell = Cell("unlearned", 0, source, "traced", "npo")
        return trace_state(config, cell, materials, loaded, parameters, store, lambda what, done, total: said.append(total))

    found = trace("de")
    assert found == trace("ur")
    assert {tag: own.firmness for tag, own in found.held.items()} == {"en": 0.75, "de": 0.5, "ur": 0.25, "zh": 0}
    assert found.living == ("en", "de") and found.chosen[0] == "en"
    assert said == [2] * 4


def test_gradients_are_of_the_layers_that_unlearning_trains(loaded: LoadedModel, tmp_path: Path) -> None:
    """Layer 2 alone, of layers 1 to 3 that the study trains."""
    config = _config(unlearning={"from_layer": 2, "to_layer": 3})
    store, materials = _measured(tmp_path), make_materials(config, study_stories(config, 0), loaded)
    parameters = make_trainable(loaded.model, TrainablePlan(from_layer=1))
    found = trace_state(
        config, Cell("unlearned", 0, "de", "traced", "npo"), materials, loaded, parameters, store, lambda what, done, total: None
    )

    def cosine(band: dict[str, torch.nn.Parameter]) -> float:
        asked = {tag: claim_questions(materials.stories.trained, tag, loaded.encoder) for tag in ("en", "de")}
        gram = inner_products({tag: gradient_sketch(loaded.body, loaded.head, band, own) for tag, own in asked.items()})
        return coverage(gram, ["en"], "de")

    assert found.coverage["en"]["de"] == pytest.approx(cosine(train_band(parameters, 2, 3)))
    assert found.coverage["en"]["de"] != pytest.approx(cosine(train_band(parameters, 1)), abs=0.01)


TRACE = Trace(
    _held({"en": 0.9, "de": 0.8, "ur": 0.1}), ("en", "de"), {"en": {"en": 1.0, "de": 0.25}, "de": {"en": 0.25, "de": 1.0}}, ("en", "de"),
    {"en": 0.75, "de": 0.875}, ("<script>alert(1)</script> & so on",),
)  # fmt: skip
TRACED_CELL = Cell("unlearned", 0, "ur", "traced", "gradient_difference")


def test_a_trace_is_kept_beside_the_rows(tmp_path: Path) -> None:
    store, record = Store(tmp_path), CellRecord(4, 5, 1.0, 2, [0.5], found=TRACE)
    store.write(TRACED_CELL, [], record)
    assert store.record(TRACED_CELL) == record
    store.write(TRACED_CELL, [], replace(record, found=None))
    assert store.record(TRACED_CELL).found is None


def test_a_cell_written_before_there_were_traces_is_read(tmp_path: Path) -> None:
    store, record = Store(tmp_path), CellRecord(4, 5, 1.0, 2, [0.5])
    store.write(TRACED_CELL, [], record)
    path = store.rows_path(TRACED_CELL)
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"polyunlearn.cell"])
    del about["found"]
    pq.write_table(table.replace_schema_metadata({b"polyunlearn.cell": json.dumps(about).encode()}), path)
    assert store.record(TRACED_CELL) == record


def test_a_trace_is_shown_and_its_text_is_text(tmp_path: Path) -> None:
    study = handmade.config(strategies=("source", "traced"))
    store = handmade.written(tmp_path / "study", study)
    values = handmade.rows(handmade.UNLEARNED, 4)
    store.write(TRACED_CELL, values, CellRecord(4, 400, 1.5, 2**30, [0.5] * 4, found=TRACE))
    figures = summarise(study, store)
    write_html(study, handmade.manifest(study), store, figures, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<li>&lt;script&gt;alert(1)&lt;/script&gt; &amp; so on</li>" in html
    assert html.count("<script") == 1
    assert "Urdu claims: unlearned in English, German</h3>" in html
    assert ">0.25</td>" in html and "<td>0.88</td>" in html
    by_strategy = {cell["strategy"]: cell["found"] for cell in summary(figures, "tiny")["cells"]}
    assert by_strategy["source"] is None
    assert json.loads(json.dumps(by_strategy["traced"])) == json.loads(json.dumps(asdict(TRACE)))
    console = Console(record=True, width=120)
    print_report(figures, console)
    assert "Urdu claims, seed 0: traced to English, German; unlearned in English, German" in console.export_text()


def test_methods_that_train_other_layers_have_traces_of_their_own(tmp_path: Path) -> None:
    """Two that found the same are shown as one; a third makes each stand by its name."""
    study = handmade.config(strategies=("source", "traced"), methods=("npo", "npo@low", "gradient_difference"))
    store = handmade.written(tmp_path / "study", study)
    values, other = handmade.rows(handmade.UNLEARNED, 4), replace(TRACE, chosen=("en",))
    for trace, shown in ((TRACE, 1), (other, 3)):
        for method, own in (("npo", TRACE), ("npo@low", TRACE), ("gradient_difference", trace)):
            store.write(replace(TRACED_CELL, method=method), values, CellRecord(4, 400, 1.5, 2**30, [0.5] * 4, found=own))
        console = Console(record=True, width=160)
        print_report(summarise(study, store), console)
        assert console.export_text(clear=False).count("traced to") == shown
    assert "Urdu claims, seed 0, gradient_difference: traced to English, German; unlearned in English\n" in console.export_text()


def test_a_report_without_traces_does_not_speak_of_them(tmp_path: Path) -> None:
    study = handmade.config()
    store = handmade.written(tmp_path / "study", study)
    write_html(study, handmade.manifest(study), store, summarise(study, store), tmp_path / "report.html")
    assert "were traced to" not in (tmp_path / "report.html").read_text(encoding="utf-8")
