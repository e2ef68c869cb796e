"""Language selection: distances, ranks and greedy coverage by hand, and a tiny model's from parallel texts."""

from itertools import combinations
from pathlib import Path
from statistics import fmean

import pytest
import torch
from handmade_claims import CLAIMS
from hypothesis import given
from hypothesis import strategies as st
from tiny import sharp

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.corpus.readers import flores
from polyunlearn.errors import UserError
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.tracing.capture import at_layers
from polyunlearn.tracing.coverage import gradient_sketch, inner_products
from polyunlearn.tracing.languages import coverage
from polyunlearn.tracing.selection import (
    RankedLanguage,
    Selection,
    article_texts,
    cover,
    fact_texts,
    ranked,
    select_languages,
)
from polyunlearn.tracing.similarity import language_distances

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "flores200"
STORIES = generate_stories(4, languages=("en", "de", "ur"))


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Distances


def test_distances_by_hand() -> None:
    """One layer, one number, three texts: 0, 2, 4 and 2, 4, 6. Mean 3, variance 22/6 = 11/3. Translations differ by 2: 4 / (11/3) = 12/11. The six other
    pairs differ by 2, 4 (0 to 4, 0 to 6: 4 and 6), 0, 4, 2, 0: squares 16 + 36 + 0 + 16 + 4 + 0 = 72, on average 12, so 36/11."""
    near, far = language_distances(torch.tensor([[[[0.0], [2], [4]], [[2], [4], [6]]]]))
    assert near[0, 0, 1].item() == pytest.approx(12 / 11) == near[0, 1, 0].item()
    assert far[0, 0, 1].item() == pytest.approx(36 / 11)
    assert near[0].diagonal().tolist() == pytest.approx([0, 0])


def test_every_pair_of_every_layer_against_loops() -> None:
    states = _random(2, 3, 4, 5) * torch.tensor([1.0, 10, 0.1, 3, 1]) + _random(1, 3, 1, 5, seed=1)
    states[..., 4] = 7.0  # A number that never varies.
    near, far = language_distances(states)
    for layer, own in enumerate(states.double()):
        flat = own.reshape(12, 5)
        spread = flat.std(0, correction=0)
        scaled = (own - flat.mean(0)) / torch.where(spread > 1e-9, spread, torch.ones(5))
        for one, other in combinations(range(3), 2):
            squares = {(t, u): (scaled[one, t] - scaled[other, u]).square().mean().item() for t in range(4) for u in range(4)}
            assert near[layer, one, other].item() == pytest.approx(fmean(squares[t, t] for t in range(4)))
            assert far[layer, one, other].item() == pytest.approx(fmean(value for (t, u), value in squares.items() if t != u))


@given(st.integers(0, 1000), st.permutations(range(5)))
def test_scale_place_and_order_of_texts_change_nothing(seed: int, order: list[int]) -> None:
    states = _random(1, 3, 5, 4, seed=seed)
    moved = states[:, :, order] * torch.tensor([3.0, 0.5, 100, 1]) + 9
    for one, other in zip(language_distances(states), language_distances(moved), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_translations_are_nearer_than_chance_only_where_meaning_is_shared() -> None:
    """Independent states: 2 either way. One meaning in all languages: 0 from translations, and by chance 2 · 40/39 as the mean is taken off."""
    near, far = language_distances(_random(1, 2, 40, 500))
    assert near[0, 0, 1].item() == pytest.approx(2, abs=0.1) == far[0, 0, 1].item()
    near, far = language_distances(_random(1, 1, 40, 500).repeat(1, 2, 1, 1))
    assert near[0, 0, 1].item() == pytest.approx(0, abs=1e-9) and far[0, 0, 1].item() == pytest.approx(2 * 40 / 39)


# Ranks and coverage


def test_ranks_by_hand() -> None:
    """Bias: en (1 + 3) / 2 = 2, de (1 + 2) / 2 = 1.5, ur 2.5. Contribution: en 0.5, de 0.3, ur 0.3. Places: en 1 + 0, de 0 + 1, ur 2 + 1: of en and de,
    which are equal, de is the less biased."""
    near = torch.tensor([[0.0, 1, 3], [1, 0, 2], [3, 2, 0]])
    transfer = {"en": {"de": 0.4, "ur": 0.6}, "de": {"en": 0.1, "ur": 0.5}, "ur": {"en": 0.3, "de": 0.3}}
    found = ranked(["en", "de", "ur"], near, 2 * near, transfer)
    assert [own.language for own in found] == ["de", "en", "ur"]
    assert found[0] == RankedLanguage("de", 1.5, 3.0, pytest.approx(0.3))
    better = {**transfer, "en": {"de": 9, "ur": 9}, "de": {"en": 0.2, "ur": 0.2}}
    assert [own.language for own in ranked(["en", "de", "ur"], near, near, better)] == ["en", "de", "ur"]


def _gram(**vectors: tuple[float, ...]) -> dict[tuple[str, str], float]:
    return {(a, b): sum(x * y for x, y in zip(vectors[a], vectors[b], strict=True)) for a in vectors for b in vectors}


def test_the_two_best_are_not_the_best_two() -> None:
    """Three languages that go along x, one that goes along y. Alone each of the three covers (1 + 1 + 1 + 0) / 4 = 0.75; two of them no more. With the
    fourth: each is covered by 1 / sqrt 2 = 0.71, which is less than 0.75, so one is enough. Where two go along y, one of either covers 0.71."""
    gram = _gram(a=(1, 0), b=(1, 0), c=(1, 0), d=(0, 1))
    assert cover(gram, list("abcd"), 3) == ("a",)
    gram = _gram(a=(1, 0), b=(1, 0), c=(0, 1), d=(0, 1), e=(1, 0))
    assert cover(gram, list("edcba"), 2) == ("a", "c")
    assert cover(gram, list("abcde"), 1) == ("a",)


def test_greedy_takes_what_raises_the_mean_most() -> None:
    """Axes of three languages at right angles: alone 1/3, two (2 · 0.71) / 3 = 0.47, three 1 / sqrt 3 = 0.58."""
    gram = _gram(a=(1, 0, 0), b=(0, 1, 0), c=(0, 0, 1))
    assert cover(gram, ["c", "b", "a"], 3) == ("a", "b", "c")


# Texts and a model


def test_texts_are_parallel_and_of_the_languages_that_all_have() -> None:
    articles, facts = article_texts(STORIES), fact_texts(CLAIMS[:3])
    assert {tag: len(own) for tag, own in articles.items()} == {"en": 4, "de": 4, "ur": 4}
    own = CLAIMS[0].editions["de"]
    assert facts["de"][0] == f"{own.questions[0]} {own.keyword}" and list(facts) == ["en", "de"]
    alone = CLAIMS[0].model_copy(update={"editions": {"en": CLAIMS[0].editions["en"]}})
    assert list(fact_texts([*CLAIMS[1:3], alone])) == ["en"]


def _select(loaded: LoadedModel, texts: dict[str, list[str]], size: int, **more: object) -> Selection:
    parameters = make_trainable(loaded.model, TrainablePlan(from_layer=1))
    return select_languages(loaded, loaded.head, parameters, texts, size, **more)  # type: ignore[arg-type]


def test_a_language_told_twice_is_nearest_to_itself(gemma_folder: Path) -> None:
    """English texts under two tags, Urdu under a third: the two are at distance 0 from each other, so Urdu is the most biased and transfers least. Told
    together they go where one goes, so greedy coverage, which begins with the best one, covers no less. The weights are as before."""
    loaded = sharp(gemma_folder)
    before = {name: own.clone() for name, own in loaded.model.state_dict().items()}
    articles = article_texts(STORIES)
    texts = {"en": articles["en"], "nl": articles["en"], "ur": articles["ur"]}
    said: list[tuple[int, int]] = []
    found = _select(loaded, texts, 2, work=lambda what, done, total: said.append((done, total)))
    # Which of the two stands first is a matter of rounding.
    assert found.ranking[2].language == "ur" and set(found.best.chosen) == {"en", "nl"}
    assert found.best.covered["en"] == pytest.approx(1, abs=1e-3) and found.best.covered["ur"] < 0.5
    assert fmean(found.greedy.covered.values()) >= fmean(found.best.covered.values()) - 1e-6 and not {"en", "nl"} <= set(
        found.greedy.chosen
    )
    assert found.ranking[0].bias == pytest.approx(found.ranking[2].bias / 2, rel=1e-3), "one of its two distances is 0"
    assert said == [(1, 3), (2, 3), (3, 3)] and len(found.best.reasons) == len(found.greedy.reasons) == 4
    for name, own in loaded.model.state_dict().items():
        assert torch.equal(own, before[name])
    assert all(own.grad is None for own in loaded.model.parameters())


def test_bias_is_of_the_mean_states_of_whole_texts(gemma_folder: Path) -> None:
    """Each text by itself through the Hugging Face model: the mean over its tokens but the first, in every layer; no token that ends it."""
    loaded, texts = sharp(gemma_folder), article_texts(STORIES)
    by_language = []
    for tag, own in texts.items():
        layers = []
        for text in own:
            seen: list[torch.Tensor] = []
            with torch.no_grad(), at_layers(loaded.model, lambda number, states, seen=seen: seen.append(states)):  # type: ignore[misc]
                loaded.model(input_ids=torch.tensor([loaded.encoder.running(get_language(tag), text).ids[:-1]]))
            layers.append(torch.stack([states[0, 1:].mean(0) for states in seen]))
        by_language.append(torch.stack(layers, dim=1))
    near = language_distances(torch.stack(by_language, dim=1))[0].mean(0)
    found = {own.language: own.bias for own in _select(loaded, texts, 1).ranking}
    for at, tag in enumerate(texts):
        assert found[tag] == pytest.approx((near[at].sum() / 2).item(), rel=1e-4)


def test_order_of_languages_and_texts_changes_nothing(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    texts = article_texts(STORIES)
    found, again = _select(loaded, texts, 2), _select(loaded, {tag: own[::-1] for tag, own in reversed(texts.items())}, 2)
    assert [own.language for own in found.ranking] == [own.language for own in again.ranking] and found.greedy.chosen == again.greedy.chosen
    for own, other in zip(found.ranking, again.ranking, strict=True):
        assert (own.bias, own.chance, own.contribution) == pytest.approx((other.bias, other.chance, other.contribution), abs=1e-4)


def test_coverage_is_that_of_the_traced_strategy_and_transfer_can_be_measured(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    texts = fact_texts(STORIES)
    found = _select(loaded, texts, 3)
    assert found.best.covered == pytest.approx(found.greedy.covered) or len(found.greedy.chosen) < 3
    parameters = make_trainable(loaded.model, TrainablePlan(from_layer=1))

    def sequences(tag: str) -> list[TokenSequence]:
        return [loaded.encoder.running(get_language(tag), text) for text in texts[tag]]

    gram = inner_products({tag: gradient_sketch(loaded.body, loaded.head, parameters, sequences(tag)) for tag in texts})
    assert found.best.covered["ur"] == pytest.approx(coverage(gram, list(texts), "ur"), abs=1e-4)
    measured = {one: {other: float(one == "ur") for other in texts} for one in texts}
    assert {own.language: own.contribution for own in _select(loaded, texts, 1, transfer=measured).ranking} == {"en": 0, "de": 0, "ur": 1}


def test_what_cannot_be_selected_from_is_refused(gemma: LoadedModel) -> None:
    texts = article_texts(STORIES)
    for wrong, size, more, said in (
        ({"en": texts["en"]}, 1, {}, "1 languages with 4 texts: give at least 2 languages and 3 texts"),
        ({tag: own[:2] for tag, own in texts.items()}, 1, {}, "3 languages with 2 texts"),
        (texts | {"ur": texts["ur"][:3]}, 1, {}, "not parallel: .*'ur': 3"),
        (texts, 4, {}, "4 languages cannot be chosen of 3; choose 1 to 3"),
        (texts, 0, {}, "0 languages cannot be chosen"),
        (texts, 1, {"transfer": {"en": {"de": 1.0}}}, "no transfer was measured from en to ur"),
    ):
        with pytest.raises(UserError, match=said):
            _select(gemma, wrong, size, **more)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"FLORES-200 is not at {DATA}")
def test_flores_goes_in_as_it_is_read(gemma: LoadedModel) -> None:
    read = flores.read([str(DATA / "forget-32.jsonl")], {}).by_language
    found = _select(gemma, {tag: list(read[tag][:3]) for tag in ("en", "fr", "ar")}, 1)
    assert {own.language for own in found.ranking} == {"en", "fr", "ar"} and len(found.best.chosen) == len(found.greedy.chosen) == 1
