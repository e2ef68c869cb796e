"""The body: masks, branches, and what it keeps of the layers that never train."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from tiny import plain_rows, sequences, sharp, tokens
from transformers import BertConfig, BertModel, DynamicCache, PreTrainedModel

from polyunlearn.errors import UserError
from polyunlearn.models.body import LINE_TOKENS, Body, decoder_layers, has_dropout
from polyunlearn.models.rows import TokenRow, forest


def _count_lower(body: Body, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each call of the frozen part from now on."""
    calls: list[int] = []
    original = body._compute

    def counted(rows: Sequence[TokenRow]) -> Any:
        calls.append(len(rows))
        return original(rows)

    monkeypatch.setattr(body, "_compute", counted)
    return calls


@torch.no_grad()
def _turn(model: PreTrainedModel, layer: int) -> None:
    """Change what a layer writes. Scaling it would do nothing in Gemma, which normalises a layer's output."""
    weight = decoder_layers(model)[layer].mlp.down_proj.weight
    weight.copy_(weight.roll(1, dims=0))


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_hidden_states_are_the_models_own(any_model_folder: Path, frozen: int) -> None:
    loaded = sharp(any_model_folder, frozen)
    items = sequences(1, 33, 5, 20)
    with torch.no_grad():
        found = loaded.body(plain_rows(items))
        for row, item in enumerate(items):
            wanted = loaded.model.base_model(input_ids=torch.tensor([item.ids])).last_hidden_state[0]
            torch.testing.assert_close(found[row, : len(item.ids)], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frozen", [0, 2])
def test_many_packed_rows_stand_in_several_lines_and_come_back_in_order(any_model_folder: Path, frozen: int) -> None:
    """Some 700 tokens, one row longer than a line: each as alone, and so what leaves the layer that is watched."""
    loaded = sharp(any_model_folder, frozen)
    rows = plain_rows(sequences(8, 9, 150, 31, 77, 5, 64, 128, 90, 12, 33, 101))
    assert sum(len(row.ids) for row in rows) > 5 * LINE_TOKENS
    with torch.no_grad():
        packed = loaded.body.packed(rows)
        again, watched = loaded.body.packed_and_watched(rows, 2)
        alone = [loaded.body.packed_and_watched([row], 2) for row in rows]
    assert torch.equal(packed, again)
    torch.testing.assert_close(packed, torch.cat([hidden for hidden, _ in alone]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(watched, torch.cat([states for _, states in alone]), atol=1e-4, rtol=1e-4)


def test_a_frozen_layer_cannot_be_watched(any_model_folder: Path) -> None:
    with pytest.raises(ValueError, match="layer 1 does not train"):
        sharp(any_model_folder, 2).body.packed_and_watched(plain_rows(sequences(1, 5)), 1)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_packed_rows_do_not_see_each_other(any_model_folder: Path, frozen: int) -> None:
    """Four texts end to end in one pass, against each alone; and again, when what enters the later layers is kept."""
    loaded = sharp(any_model_folder, frozen)
    items = sequences(13, 25, 4, 11, 16)
    with torch.no_grad():
        wanted = torch.cat([loaded.model.base_model(input_ids=torch.tensor([item.ids])).last_hidden_state[0] for item in items])
        for _ in range(2):
            found = loaded.body.packed(plain_rows(items))
            assert found.shape == wanted.shape
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_the_last_layer_alone_can_train(any_model_folder: Path) -> None:
    """All layers but one frozen, the most that a plan allows."""
    count = len(decoder_layers(sharp(any_model_folder).model))
    loaded = sharp(any_model_folder, count - 1)
    item = sequences(2, 21)[0]
    with torch.no_grad():
        wanted = loaded.model.base_model(input_ids=torch.tensor([item.ids])).last_hidden_state
        torch.testing.assert_close(loaded.body([TokenRow.plain(item.ids)]), wanted, atol=1e-4, rtol=1e-4)


def test_a_sliding_layer_sees_eight_tokens_and_a_full_one_all(gemma_folder: Path) -> None:
    """Layer 0 slides over 8 tokens, itself included: changing token 0 moves place 7 and not place 8. Layer 1 sees everything."""
    loaded = sharp(gemma_folder, 1)
    first = sequences(3, 20)[0].ids
    other = (first[0] + 5, *first[1:])
    lower = loaded.body._compute([TokenRow.plain(first), TokenRow.plain(other)])
    change = (lower[TokenRow.plain(first)].states - lower[TokenRow.plain(other)].states).abs().amax(dim=1)
    assert float(change[7]) > 1e-4 and float(change[8:].max()) < 1e-6
    with torch.no_grad():
        a, b = loaded.body([TokenRow.plain(first), TokenRow.plain(other)])
    assert float((a - b).abs().amax(dim=1)[8:].min()) > 1e-4


@pytest.mark.parametrize("frozen", [0, 1])
def test_sequences_that_share_their_beginning_do_not_see_each_other(any_model_folder: Path, frozen: int) -> None:
    """A prompt of 13 with branches of 6, 1 and 11 tokens, the last of which branches once more: each place has its own text's state."""
    loaded = sharp(any_model_folder, frozen)
    rng = Random(4)
    prompt, branches = tokens(rng, 13), [tokens(rng, size) for size in (6, 1, 11)]
    texts = [prompt + branch for branch in branches] + [prompt + branches[2][:5] + tokens(rng, 4)]
    row, places = forest(texts)
    assert len(row.ids) == 13 + 6 + 1 + 11 + 4
    with torch.no_grad():
        tree = loaded.body([row, TokenRow.plain(tokens(rng, 40))])[0]
        packed = loaded.body.packed([TokenRow.plain(tokens(rng, 9)), row])[9:]
        for text, own in zip(texts, places, strict=True):
            alone = loaded.model.base_model(input_ids=torch.tensor([text])).last_hidden_state[0]
            torch.testing.assert_close(tree[list(own)], alone, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(packed[list(own)], alone, atol=1e-4, rtol=1e-4)


def test_later_layers_share_the_models_weights(gemma_folder: Path) -> None:
    """Training moves what the body computes with; nothing is copied."""
    loaded = sharp(gemma_folder, 2)
    row = [TokenRow.plain(sequences(5, 10)[0].ids)]
    with torch.no_grad():
        before = loaded.body(row)
        _turn(loaded.model, 3)
        after = loaded.body(row)
        wanted = loaded.model.base_model(input_ids=torch.tensor([row[0].ids])).last_hidden_state
    assert float((before - after).abs().max()) > 1e-3
    torch.testing.assert_close(after, wanted, atol=1e-4, rtol=1e-4)


def test_gradients_stop_at_the_frozen_layers(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder, 2)
    loaded.body(plain_rows(sequences(6, 10, 12))).square().sum().backward()
    for number, layer in enumerate(decoder_layers(loaded.model)):
        moved = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in layer.parameters()]
        assert all(moved) if number >= 2 else not any(moved), number


def test_frozen_layers_are_computed_once_a_row(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = sharp(gemma_folder, 2).body
    rows = plain_rows(sequences(7, 10, 12, 30))
    calls = _count_lower(body, monkeypatch)
    with torch.no_grad():
        first = body(rows)
        again = body(rows)
    assert calls == [3, 0]
    assert torch.equal(first, again)


def test_kept_rows_outlive_a_fresh_start_and_others_do_not(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = sharp(gemma_folder, 2).body
    kept, other = plain_rows(sequences(8, 10)), plain_rows(sequences(9, 12))
    body.keep(kept)
    calls = _count_lower(body, monkeypatch)
    with torch.no_grad():
        body(kept + other)
        body(kept + other)
        body.start_afresh()
        body(kept + other)
        assert calls == [1, 0, 1]
        # The next `keep` lets the first go.
        body.keep(other)
        body(kept + other)
    assert calls == [1, 0, 1, 1, 1]


def test_the_cache_stays_within_its_room(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of 10 tokens takes 10 x 32 x 4 = 1280 bytes; 2000 bytes hold one of two, the same one each time."""
    model = sharp(gemma_folder).model
    body, free = Body(model, 2, cache_bytes=2000), Body(model, 2)
    rows = plain_rows(sequences(10, 10, 10))
    calls = _count_lower(body, monkeypatch)
    with torch.no_grad():
        found = [body(rows) for _ in range(3)]
        assert calls == [2, 1, 1]
        for states in found:
            torch.testing.assert_close(states, free(rows), atol=1e-5, rtol=1e-5)
        assert body.keep(rows) == 1 and free.keep(rows) == 0
        body.keep([])
        # Room is given back: a fresh start can hold another row.
        body.start_afresh()
        other = plain_rows(sequences(11, 10))
        body(other)
        body(other)
    assert calls[3:] == [2, 1, 0]


def test_dropout_keeps_nothing(gemma_folder: Path) -> None:
    """With dropout in training no output is the same twice, so the frozen layers run each time; without it they are kept."""
    loaded = sharp(gemma_folder)
    rows = plain_rows(sequences(16, 10))
    assert not has_dropout(loaded.model)
    for rate, alike in ((0.0, True), (0.5, False)):
        loaded.model.config.attention_dropout = rate
        for layer in decoder_layers(loaded.model):
            layer.self_attn.attention_dropout = rate
        body = Body(loaded.model, 2)
        body.keep(rows)
        body.train()
        with torch.no_grad():
            assert torch.equal(body(rows), body(rows)) == alike
        assert (body._lower is None) != alike
    assert has_dropout(loaded.model)


def test_no_frozen_layers_keep_nothing(gemma_folder: Path) -> None:
    """Where everything trains, a kept state would be stale after one step."""
    loaded = sharp(gemma_folder)
    rows = plain_rows(sequences(12, 10))
    loaded.body.keep(rows)
    with torch.no_grad():
        before = loaded.body(rows)
        _turn(loaded.model, 0)
        assert float((loaded.body(rows) - before).abs().max()) > 1e-3


def test_a_model_without_decoder_layers_is_refused() -> None:
    model = BertModel(BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8))
    with pytest.raises(UserError, match="BertModel: its decoder layers were not found"):
        decoder_layers(model)


def test_places_that_are_read_leave_their_keys_and_values(any_model_folder: Path) -> None:
    """A prompt with a candidate behind it, against the model's own cache on the prompt alone; rows that read nothing leave nothing."""
    rng = Random(13)
    prompt = tokens(rng, 11)
    row = replace(TokenRow.plain((*prompt, *tokens(rng, 3))), reads=tuple(range(11)))
    for frozen in (0, 2):
        loaded = sharp(any_model_folder, frozen)
        own = DynamicCache()
        with torch.no_grad():
            last = loaded.model.base_model(input_ids=torch.tensor([prompt]), past_key_values=own, use_cache=True).last_hidden_state[0, -1]
            hidden, (found, nothing) = loaded.body.read([row, *plain_rows(sequences(14, 20))])
        assert len(found) == len(decoder_layers(loaded.model)) and nothing == ()
        torch.testing.assert_close(hidden[0, 10], last, atol=1e-4, rtol=1e-4)
        for part, layer in zip(found, own.layers, strict=True):
            torch.testing.assert_close(part, torch.stack([layer.keys[0], layer.values[0]]), atol=1e-4, rtol=1e-4)


def test_what_is_read_is_kept_with_its_keys_and_values(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept rows are computed once for reading and for `forward`, and their room is given back."""
    body = sharp(gemma_folder, 2).body
    rows = [replace(row, reads=(0, 1, 2)) for row in plain_rows(sequences(15, 10, 12))]
    body.keep(rows)
    calls = _count_lower(body, monkeypatch)
    with torch.no_grad():
        body.read(rows)
        body(rows)
        body.read([replace(row, reads=(1,)) for row in rows])
    assert calls == [0, 0, 2]
    body.keep([])
    assert body._room == 2**30
