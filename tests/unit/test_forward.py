"""The forward pass that training and scoring share, against the Hugging Face model's own."""

from pathlib import Path
from random import Random

import pytest
import torch
from tiny import own_label_log_probs, sequences, sharp

from polyunlearn.errors import UserError
from polyunlearn.models import forward
from polyunlearn.models.forward import OutputHead, label_log_probs
from polyunlearn.models.sequences import TokenSequence

# Up to five times Gemma's sliding window of 8, so that sliding and full layers see different things.
LENGTHS = (40, 3, 17, 8, 9, 29, 2)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_label_log_probs_are_the_models_own(any_model_folder: Path, frozen: int) -> None:
    """Seven lengths in one pass against one unpadded row at a time through the Hugging Face model."""
    loaded = sharp(any_model_folder, frozen)
    batch = sequences(1, *LENGTHS)
    with torch.no_grad():
        found = label_log_probs(loaded.body, loaded.head, batch)
    for sequence, log_probs in zip(batch, found, strict=True):
        torch.testing.assert_close(log_probs, own_label_log_probs(loaded, sequence), atol=2e-4, rtol=1e-5)


def test_log_probs_depend_on_context(any_model_folder: Path) -> None:
    """Without this the comparison above could pass with any mask: the same labels after another beginning differ by nats."""
    loaded = sharp(any_model_folder)
    one, other = sequences(2, 30)[0], sequences(3, 30)[0]
    mixed = TokenSequence(other.ids[:10] + one.ids[10:], 12)
    one = TokenSequence(one.ids, 12)
    with torch.no_grad():
        found = label_log_probs(loaded.body, loaded.head, [one, mixed])
    assert float((found[0] - found[1]).abs().max()) > 0.1


def test_order_and_batch_change_nothing(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder, 1)
    batch = sequences(4, *LENGTHS)
    with torch.no_grad():
        together = label_log_probs(loaded.body, loaded.head, batch)
        backwards = label_log_probs(loaded.body, loaded.head, batch[::-1])[::-1]
        alone = [label_log_probs(loaded.body, loaded.head, [sequence])[0] for sequence in batch]
    for a, b, c in zip(together, backwards, alone, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(a, c, atol=1e-4, rtol=1e-5)


def test_gradients_are_the_models_own(any_model_folder: Path) -> None:
    """Gradients of the summed log-probs, one pass against one row at a time, for every weight."""
    loaded = sharp(any_model_folder)
    batch = sequences(5, 20, 7, 12)
    torch.cat(label_log_probs(loaded.body, loaded.head, batch)).sum().backward()
    found = {name: parameter.grad for name, parameter in loaded.model.named_parameters()}
    loaded.model.zero_grad()
    for sequence in batch:
        whole = torch.log_softmax(loaded.model(input_ids=torch.tensor([sequence.ids])).logits[0], dim=-1)
        places = torch.arange(sequence.label_from - 1, len(sequence.ids) - 1)
        whole[places, torch.tensor(sequence.labels)].sum().backward()
    for name, parameter in loaded.model.named_parameters():
        assert parameter.grad is not None and found[name] is not None, name
        scale = float(parameter.grad.abs().max())
        assert scale > 0, name
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-3 * scale, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def _head(columns: int = 600, width: int = 16, cap: float | None = None) -> tuple[OutputHead, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(columns, width, generator=generator).requires_grad_()
    hidden = torch.randn(37, width, generator=generator).requires_grad_()
    return OutputHead(weight, None, cap), hidden, torch.randint(0, columns, (37,), generator=generator)


def test_head_by_hand() -> None:
    """Hidden state (1, 2) and tokens (1, 0), (0, 1), (1, 1): logits 1, 2, 3.

    The normaliser is ln(e + e^2 + e^3) = 3.407606, so the log-probs are -2.407606, -1.407606, -0.407606.
    """
    head = OutputHead(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), None, None)
    found = head.log_probs(torch.tensor([[1.0, 2.0]] * 3), torch.tensor([0, 1, 2]))
    assert found.tolist() == pytest.approx([-2.407606, -1.407606, -0.407606], abs=1e-6)


def test_softcapped_head_by_hand() -> None:
    """Logits 1 and 3 under a cap of 2 become 2 tanh(0.5) = 0.924234 and 2 tanh(1.5) = 1.810297.

    Their difference is 0.886063, so the log-probs are -ln(1 + e^0.886063) = -1.231263 and -ln(1 + e^-0.886063) = -0.345200.
    """
    head = OutputHead(torch.tensor([[1.0], [3.0]]), None, 2.0)
    found = head.log_probs(torch.ones(2, 1), torch.tensor([0, 1]))
    assert found.tolist() == pytest.approx([-1.231263, -0.345200], abs=1e-5)


def test_softcapping_is_read_from_the_model(gemma_folder: Path) -> None:
    """With `final_logit_softcapping` set, log-probs are those of the Hugging Face model, which caps too, and not those without."""
    loaded = sharp(gemma_folder)
    batch = sequences(6, 15)
    with torch.no_grad():
        uncapped = label_log_probs(loaded.body, loaded.head, batch)[0]
        loaded.model.config.final_logit_softcapping = 1.5
        capped = label_log_probs(loaded.body, OutputHead.of(loaded.model), batch)[0]
    torch.testing.assert_close(capped, own_label_log_probs(loaded, batch[0]), atol=1e-4, rtol=1e-5)
    assert float((capped - uncapped).abs().max()) > 0.1


@pytest.mark.parametrize("cap", [None, 3.0])
def test_chunks_change_neither_values_nor_gradients(monkeypatch: pytest.MonkeyPatch, cap: float | None) -> None:
    """37 positions in one chunk, and in chunks of four (4 x 600 columns x 4 bytes)."""
    head, hidden, labels = _head(cap=cap)
    whole = head.log_probs(hidden, labels)
    whole_gradients = torch.autograd.grad(whole.sum(), (head.weight, hidden))
    monkeypatch.setattr(forward, "HEAD_CHUNK_BYTES", 4 * 600 * 4)
    chunked = head.log_probs(hidden, labels)
    chunked_gradients = torch.autograd.grad(chunked.sum(), (head.weight, hidden))
    torch.testing.assert_close(chunked, whole)
    for a, b in zip(chunked_gradients, whole_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("at_once", [1, 7, 600, 10_000])
def test_without_gradients_the_vocabulary_is_passed_in_parts(monkeypatch: pytest.MonkeyPatch, cap: float | None, at_once: int) -> None:
    """Log-probs as with gradients, and the most probable token as from all 600 logits, however many tokens a part has."""
    head, hidden, labels = _head(cap=cap)
    whole = head.log_probs(hidden, labels).detach()
    monkeypatch.setattr(forward, "TOKENS_AT_ONCE", at_once)
    with torch.no_grad():
        torch.testing.assert_close(head.log_probs(hidden, labels), whole, atol=1e-5, rtol=1e-5)
        assert torch.equal(head.most_probable(hidden), (hidden @ head.weight.T).argmax(1))


def test_a_chunk_below_one_row_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    head, hidden, labels = _head()
    whole = head.log_probs(hidden, labels)
    monkeypatch.setattr(forward, "HEAD_CHUNK_BYTES", 1)
    torch.testing.assert_close(head.log_probs(hidden, labels), whole)


@pytest.mark.parametrize("at_once", [1, 100, 8192])
def test_pairs_are_the_entries_of_the_log_softmax(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(forward, "TOKENS_AT_ONCE", at_once)
    head, hidden, _ = _head()
    rng = Random(8)
    positions = torch.tensor([rng.randrange(37) for _ in range(90)])
    labels = torch.tensor([rng.randrange(600) for _ in range(90)])
    wanted = torch.log_softmax(hidden.detach() @ head.weight.detach().T, dim=1)[positions, labels]
    torch.testing.assert_close(head.pair_log_probs(hidden.detach(), positions, labels), wanted, atol=1e-5, rtol=1e-5)


def test_restricted_head_is_the_full_one_renormalised() -> None:
    """log p(y | y in K) = log p(y) - log sum of p over K, for a set K given unsorted and with repeats."""
    head, hidden, _ = _head()
    kept = [599, 3, 77, 3, 250, 0]
    labels = torch.tensor([[599, 3, 77, 250, 0][at % 5] for at in range(37)])
    full = torch.log_softmax((hidden @ head.weight.T).detach(), dim=1)
    wanted = full[torch.arange(37), labels] - torch.logsumexp(full[:, sorted(set(kept))], dim=1)
    restricted = head.restricted(kept)
    torch.testing.assert_close(restricted.log_probs(hidden, labels).detach(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(restricted.pair_log_probs(hidden.detach(), torch.arange(37), labels), wanted, atol=1e-5, rtol=1e-5)


def test_restricted_to_everything_is_the_full_head() -> None:
    head, hidden, labels = _head(cap=4.0)
    torch.testing.assert_close(head.restricted(range(600)).log_probs(hidden, labels), head.log_probs(hidden, labels))


def test_a_label_outside_the_restricted_vocabulary_raises() -> None:
    head, hidden, _ = _head()
    restricted = head.restricted([1, 2, 3])
    with pytest.raises(ValueError, match="restricted vocabulary"):
        restricted.log_probs(hidden[:2], torch.tensor([1, 4]))
    with pytest.raises(ValueError, match="restricted vocabulary"):
        restricted.pair_log_probs(hidden[:2], torch.tensor([0, 1]), torch.tensor([1, 4]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_log_probs_are_fp32_whatever_the_weights(dtype: torch.dtype) -> None:
    """Of weights in 16 bits as from the same in fp64; logits up to some 15, which bf16 would round by hundredths."""
    of_fp32, in_fp32, labels = _head()
    head, hidden = OutputHead(of_fp32.weight.detach().to(dtype), None, None), in_fp32.detach().to(dtype)
    logits = hidden.double() @ head.weight.double().T
    wanted = torch.log_softmax(logits, 1)[torch.arange(37), labels].float()
    found = head.log_probs(hidden.clone().requires_grad_(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.detach(), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(head.pair_log_probs(hidden, torch.arange(37), labels), wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(head.most_probable(hidden), logits.argmax(1))


def test_no_probability_of_16_bit_weights_exceeds_1() -> None:
    """Tokens that are next to certain, whose logits the normaliser sums in another order."""
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(200, 64, generator=generator).bfloat16()
    found = OutputHead(weight, None, None).pair_log_probs(weight * 3, torch.arange(200), torch.arange(200))
    assert float(found.max()) <= 0


def test_no_probability_of_a_large_vocabulary_exceeds_1() -> None:
    """In fp32 too: of 20,000 tokens the sure one's logit and the normaliser differ by some 1e-5, either way."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(20_000, 64, generator=generator)
    found = OutputHead(weight, None, None).pair_log_probs(weight[:200] * 3, torch.arange(200), torch.arange(200))
    assert float(found.min()) > -1e-4 and float(found.max()) == 0


def test_a_biased_output_layer_is_refused(llama_folder: Path) -> None:
    """A bias would be left out of the logits without a word."""
    loaded = sharp(llama_folder)
    loaded.model.lm_head = torch.nn.Linear(32, 600, bias=True)
    with pytest.raises(UserError, match="bias"):
        OutputHead.of(loaded.model)
