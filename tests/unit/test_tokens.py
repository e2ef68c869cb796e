"""The token table of one pass, and the metrics that are read off it."""

import math
from pathlib import Path

import pytest
import torch
from tiny import own_label_log_probs, sequences, sharp

from polyunlearn.models.forward import OutputHead
from polyunlearn.scoring import tokens as table_of
from polyunlearn.scoring.metrics.tokens import (
    exact_memorisation,
    extraction_strength,
    mean_probability,
    min_k,
    min_k_plus_plus,
    probability,
)
from polyunlearn.scoring.tokens import TokenTable, describe, token_tables


def test_a_table_by_hand() -> None:
    """Logits ln 2, ln 1, ln 1 are probabilities 1/2, 1/4, 1/4: entropy 1.5 ln 2 = 1.039721; log-probs lie 0.5 ln 2 either side of their mean,
    so the deviation is 0.346574. Token 1 is behind token 0 alone (a tie is not ahead of it): rank 1."""
    head = OutputHead(torch.tensor([[math.log(2)], [0.0], [0.0]]), None, None)
    table = describe(head, torch.ones(2, 1), torch.tensor([0, 1]))
    assert table.log_prob.tolist() == pytest.approx([math.log(0.5), math.log(0.25)])
    assert table.rank.tolist() == [0, 1] and table.hit.tolist() == [True, False]
    assert table.entropy.tolist() == pytest.approx([1.039721] * 2, abs=1e-6)
    assert table.deviation.tolist() == pytest.approx([0.346574] * 2, abs=1e-6)


def test_a_certain_prediction_has_no_entropy_and_no_deviation() -> None:
    head = OutputHead(torch.tensor([[200.0], [0.0], [-3.0]]), None, None)
    table = describe(head, torch.ones(1, 1), torch.tensor([0]))
    assert table.entropy.item() == pytest.approx(0, abs=1e-12) and table.deviation.item() == pytest.approx(0, abs=1e-12)
    missed = describe(head, torch.ones(1, 1), torch.tensor([1]))
    assert min_k_plus_plus(table) == pytest.approx(0) and math.isfinite(min_k_plus_plus(missed)) and min_k_plus_plus(missed) < -1e6


def test_a_diverged_model_hits_nothing() -> None:
    head = OutputHead(torch.tensor([[math.nan], [0.0], [0.0]]), None, None)
    assert not describe(head, torch.ones(3, 1), torch.tensor([0, 1, 2])).hit.any()


def test_tables_are_the_models_own_whatever_the_batch(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the Hugging Face model's logits, text by text; packed, alone, and in chunks of one position."""
    loaded = sharp(any_model_folder)
    items = sequences(31, 12, 30, 5)
    together = token_tables(loaded, loaded.head, items)
    for item, table in zip(items, together, strict=True):
        torch.testing.assert_close(table.log_prob, own_label_log_probs(loaded, item), atol=1e-4, rtol=1e-4)
        with torch.no_grad():
            log_probs = torch.log_softmax(loaded.model(input_ids=torch.tensor([item.ids])).logits[0, item.label_from - 1 : -1].float(), 1)
        labels = torch.tensor(item.labels)
        assert table.rank.tolist() == [int((row > row[label]).sum()) for row, label in zip(log_probs, labels, strict=True)]
        torch.testing.assert_close(table.entropy, torch.distributions.Categorical(logits=log_probs).entropy(), atol=1e-4, rtol=1e-4)
        alone = token_tables(loaded, loaded.head, [item])[0]
        torch.testing.assert_close(alone.deviation, table.deviation, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr("polyunlearn.models.forward.HEAD_CHUNK_BYTES", 1)
    for table, chunked in zip(together, token_tables(loaded, loaded.head, items), strict=True):
        torch.testing.assert_close(chunked.log_prob, table.log_prob, atol=1e-4, rtol=1e-4)
        assert chunked.rank.tolist() == table.rank.tolist()


def _table(log_probs: list[float], ranks: list[int]) -> TokenTable:
    ones = torch.ones(len(log_probs))
    return TokenTable(torch.tensor(log_probs), torch.tensor(ranks), 2 * ones, 0.5 * ones)


def test_metrics_by_hand() -> None:
    """Log-probs -1, -2, -3: e^-6 and e^-2. Ranks 3, 0, 0: two of three are hits, and the last two finish by themselves: 2/3 and 2/3.

    The least probable of three (a fifth of three, so one) has -3; with mean -2 and deviation 0.5 it lies (-3 + 2) / 0.5 = -2 from it.
    """
    table = _table([-1.0, -2.0, -3.0], [3, 0, 0])
    assert probability(table) == pytest.approx(math.exp(-6)) and mean_probability(table) == pytest.approx(math.exp(-2))
    assert exact_memorisation(table) == pytest.approx(2 / 3) and extraction_strength(table) == pytest.approx(2 / 3)
    assert min_k(table) == pytest.approx(-3) and min_k_plus_plus(table) == pytest.approx(-2)


def test_two_fifths_of_five_are_two() -> None:
    """The least two of -1 .. -5 are -4 and -5: -4.5; as distances (-4.5 + 2) / 0.5 = -5."""
    table = _table([-1.0, -4.0, -2.0, -5.0, -3.0], [0] * 5)
    assert min_k(table, 0.4) == pytest.approx(-4.5) and min_k_plus_plus(table, 0.4) == pytest.approx(-5)


@pytest.mark.parametrize(
    ("ranks", "strength"), [([0, 0, 1], 0.0), ([1, 0, 0], 2 / 3), ([0, 0, 0], 1.0), ([5], 0.0), ([0], 1.0), ([0, 1, 0], 1 / 3)]
)
def test_extraction_strength_reaches_both_ends(ranks: list[int], strength: float) -> None:
    """A floor of 1 / n, as in one published implementation, would make short answers look remembered."""
    assert extraction_strength(_table([-1.0] * len(ranks), ranks)) == pytest.approx(strength)


def test_the_pass_is_one(any_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All figures of three short texts come from a single forward pass."""
    loaded = sharp(any_model_folder)
    calls: list[int] = []
    original = table_of.label_states
    monkeypatch.setattr(table_of, "label_states", lambda body, own: (calls.append(len(own)), original(body, own))[1])
    token_tables(loaded, loaded.head, sequences(32, 8, 9, 10))
    assert calls == [3]
