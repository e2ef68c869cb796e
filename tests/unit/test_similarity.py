"""How alike languages are: CKA and variance components on states made by hand."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import sequences, sharp

from polyunlearn.models.body import Body
from polyunlearn.tracing.capture import mean_prompt_states, mean_text_states
from polyunlearn.tracing.similarity import LEAST_TEXTS, Alike, alike, language_distances, linear_cka, lrds, mute_layers, variance_shares


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_equal_rotated_scaled_and_moved_states_are_wholly_alike() -> None:
    x = _random(10, 6)
    rotation = torch.linalg.qr(_random(6, 6, seed=1)).Q
    for other in (x, x @ rotation, 3 * x, x + _random(6, seed=2)):
        assert linear_cka(x, other) == pytest.approx(1)


def test_states_at_right_angles_are_not_alike() -> None:
    """Four texts; one language tells 1, 2 from 3, 4, the other 1, 3 from 2, 4: inner products of the columns are 0. A state that never varies is like none."""
    x, y = torch.tensor([[1.0], [1], [-1], [-1]]), torch.tensor([[1.0], [-1], [1], [-1]])
    assert linear_cka(x, y) == 0
    assert linear_cka(x, torch.ones(4, 2)) == 0


def test_cka_by_hand() -> None:
    """x = (1, 0, -1), y = (1, -1, 0): (y'x)^2 = 1, x'x = y'y = 2, so 1 / 4. With a second column of y, (0, 0, 0), the same."""
    x, y = torch.tensor([[1.0], [0], [-1]]), torch.tensor([[1.0, 0], [-1, 0], [0, 0]])
    assert linear_cka(x, y) == pytest.approx(0.25)


@given(st.integers(0, 10_000), st.permutations(range(5)))
def test_cka_lies_between_0_and_1_and_order_is_irrelevant(seed: int, order: list[int]) -> None:
    x, y = _random(5, 7, seed=seed), _random(5, 3, seed=seed + 1)
    found = linear_cka(x, y)
    assert 0 <= found <= 1 + 1e-12
    assert linear_cka(y, x) == pytest.approx(found) == linear_cka(x[order], y[order])


def test_shares_by_hand() -> None:
    """Two languages, three texts, one number: texts 0, 2, 4, the second language higher by 2, nothing left. Mean squares: texts 2 * (4 + 0 + 4) / 2 = 8,
    languages 3 * (1 + 1) / 1 = 6, so 8 / 2 = 4 of meaning and 6 / 3 = 2 of language: 2/3 and 1/3."""
    assert variance_shares(torch.tensor([[[0.0], [2], [4]], [[2], [4], [6]]])) == pytest.approx((2 / 3, 1 / 3, 0))
    assert variance_shares(torch.ones(2, 3, 4)) == (0, 0, 0)


def test_pure_meaning_pure_language_and_noise() -> None:
    meaning, language = _random(1, 20, 8).expand(4, -1, -1), _random(4, 1, 8).expand(-1, 20, -1)
    assert variance_shares(meaning) == pytest.approx((1, 0, 0))
    assert variance_shares(language) == pytest.approx((0, 1, 0))
    found = variance_shares(_random(9, 24, 500))
    assert found[2] > 0.99, "noise has no meaning, although its text means differ"


def test_more_meaning_is_more_share_than_language_differences_hide() -> None:
    """States = meaning + 10 × language: CKA within centred languages is 1, the share of meaning about 1 / 101."""
    states = _random(1, 30, 40) + 10 * _random(3, 1, 40, seed=1)
    found = alike(states)
    assert found.cka == pytest.approx(1)
    assert found.meaning == pytest.approx(0.01, abs=0.005) and found.meaning + found.language + found.rest == pytest.approx(1)


def test_chance_is_what_texts_give_that_are_no_translations() -> None:
    """Six texts in forty numbers at random: translations no more alike than others, and both far above 0. With shared meaning only the first is 1."""
    found = alike(_random(2, 6, 40))
    assert found.cka == pytest.approx(found.chance, abs=0.1) and found.chance > 0.6
    shared = alike(_random(1, 6, 40).repeat(2, 1, 1))
    assert shared.cka == pytest.approx(1) and shared.chance < 0.9


def test_lrds_by_hand() -> None:
    """Two texts. Language a says both as (1, 0), b both as (0, 1): cosines of 1 within a language, 0 across: 1. Meaning alone, (1, 0) and (0, 2) in both: 0 and 0.
    a as (1, 0), (0, 1) and b as (3, 0), (3, 0): 0 and 1 within, a1 with b2 1, a2 with b1 0 across: 1/2 less 1/2. A state of no length is close to nothing."""
    assert lrds(torch.tensor([[[1.0, 0], [1, 0]], [[0, 1], [0, 1]]])) == pytest.approx(1)
    assert lrds(torch.tensor([[[1.0, 0], [0, 2]], [[1, 0], [0, 2]]])) == pytest.approx(0)
    assert lrds(torch.tensor([[[1.0, 0], [0, 1]], [[3, 0], [3, 0]]])) == pytest.approx(0)
    assert lrds(torch.zeros(2, 2, 2)) == 0


@given(st.integers(0, 10_000), st.permutations(range(3)), st.permutations(range(4)))
def test_lrds_against_loops_whatever_the_order(seed: int, languages: list[int], texts: list[int]) -> None:
    states = _random(3, 4, 5, seed=seed) + _random(3, 1, 5, seed=seed + 1)
    unit = torch.nn.functional.normalize(states.double(), dim=2)
    pairs = [(a, b, t, u) for a in range(3) for b in range(3) for t in range(4) for u in range(4) if t != u]
    same, other = ([float(unit[a, t] @ unit[b, u]) for a, b, t, u in pairs if (a == b) is alike_] for alike_ in (True, False))
    assert lrds(states) == pytest.approx(sum(same) / len(same) - sum(other) / len(other))
    assert lrds(states[languages][:, texts]) == pytest.approx(lrds(states))


def _layer(cka: float, lrds: float) -> Alike:
    return Alike(cka, 0, 0, 0, 0, lrds, 0, 0, 0, 0)


def test_the_layers_that_mute_takes() -> None:
    """Mean CKA 0.6, least LRDS 0.02, so at most 0.05 (times 2.5): of the layers with 0.6 or more layer 3 has more. With alpha 4 it goes too. Below 0 nothing is a
    multiple; without layers there is none."""
    layers = [_layer(0.4, 0.02), _layer(0.6, 0.05), _layer(0.7, 0.03), _layer(0.9, 0.08), _layer(0.4, 0.04)]
    assert mute_layers(layers) == (1, 2) and mute_layers(layers, 4) == (1, 2, 3)
    assert mute_layers([_layer(0.5, -0.1), _layer(0.5, 0.1)]) == () == mute_layers([])


def test_a_layer_has_what_each_probe_says_of_it() -> None:
    """Distances are the mean over the three pairs of languages; what is no share of the states' variance is a share of the means' lengths. Neither the order of
    languages nor that of texts matters."""
    states = _random(3, 6, 8) + 2 * _random(1, 6, 8, seed=1) + _random(3, 1, 8, seed=2) + 1
    found = alike(states)
    near, far = (matrix[0] for matrix in language_distances(states[None]))
    assert found.bias == pytest.approx((near[0, 1] + near[0, 2] + near[1, 2]).item() / 3) and found.bias < found.bias_chance
    assert found.bias_chance == pytest.approx((far[0, 1] + far[0, 2] + far[1, 2]).item() / 3)
    assert found.lrds == lrds(states) and found.shared + found.specific == pytest.approx(1)
    moved = alike(states[[2, 0, 1]][:, [5, 3, 1, 0, 2, 4]])
    for name in ("cka", "meaning", "language", "lrds", "bias", "bias_chance", "shared", "specific"):
        assert getattr(moved, name) == pytest.approx(getattr(found, name)), name


def test_chance_by_hand() -> None:
    """Three texts as in the CKA above, x = (1, 0, -1) and y = (1, -1, 0), 1/4; moved on by one y is (0, 1, -1), (1/2)^2, by two (-1, 0, 1), 1: mean 5/8."""
    found = alike(torch.tensor([[[1.0], [0], [-1]], [[1.0], [-1], [0]]]))
    assert (found.cka, found.chance) == pytest.approx((1 / 4, 5 / 8))


def test_too_little_is_refused() -> None:
    for shape in ((1, 9, 4), (2, LEAST_TEXTS - 1, 4)):
        with pytest.raises(ValueError, match="at least 2 and 3"):
            alike(torch.ones(shape))


def test_prompts_are_read_without_their_first_token_and_their_answer(gemma_folder: Path) -> None:
    """Of the last layer's states the means over places 1 to the label, from the model's own hidden states; what shares the batch changes nothing."""
    loaded = sharp(gemma_folder)
    asked = sequences(3, 12, 7)
    found = mean_prompt_states(Body(loaded.model), asked)
    assert found.shape == (4, 2, 32)
    with torch.no_grad():
        for index, own in enumerate(asked):
            hidden = loaded.model(input_ids=torch.tensor([own.ids]), output_hidden_states=True).hidden_states
            for layer in range(3):
                torch.testing.assert_close(found[layer, index], hidden[layer + 1][0, 1 : own.label_from].mean(0), atol=1e-3, rtol=1e-3)


def test_texts_are_read_to_their_last_token_but_one(gemma_folder: Path) -> None:
    """The label counts for nothing, and the token that ends a text is left out."""
    loaded = sharp(gemma_folder)
    texts = sequences(4, 9, 5)
    found = mean_text_states(Body(loaded.model), texts)
    with torch.no_grad():
        for index, own in enumerate(texts):
            hidden = loaded.model(input_ids=torch.tensor([own.ids]), output_hidden_states=True).hidden_states
            torch.testing.assert_close(found[1, index], hidden[2][0, 1:-1].mean(0), atol=1e-3, rtol=1e-3)
