"""The logit lens: exact where the model ends, the layers below by hand, and nothing where nothing was told."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from handmade_claims import CLAIMS, TOLD, teach
from tiny import own_label_log_probs, plain_rows, sequences, sharp

from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead
from polyunlearn.models.loading import load_model
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.tracing.capture import layer_states
from polyunlearn.tracing.coverage import claim_questions
from polyunlearn.tracing.lens import OTHERS, claim_lens, edges, final_norm, lens


def test_at_the_last_layer_it_is_the_model(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder)
    asked = sequences(0, 9, 30, 4, 17)
    found = lens(loaded.body, loaded.head, asked)
    wanted = [own_label_log_probs(loaded, own).mean().item() for own in asked]
    assert found[-1].tolist() == pytest.approx(wanted, abs=2e-4)
    assert found.shape == (len(loaded.model.base_model.layers), 4) and max(wanted) - min(wanted) > 0.5


def test_below_it_is_a_model_that_ends_there(any_model_folder: Path) -> None:
    """The Hugging Face model with its layers cut off after the second gives what the lens reads there."""
    loaded = sharp(any_model_folder)
    asked = sequences(1, 9, 21)
    found = lens(loaded.body, loaded.head, asked)
    loaded.model.base_model.layers = loaded.model.base_model.layers[:2]
    loaded.model.config.num_hidden_layers = 2
    assert found[1].tolist() == pytest.approx([own_label_log_probs(loaded, own).mean().item() for own in asked], abs=2e-4)
    assert not torch.allclose(found[1], found[-1], atol=0.1)


def test_what_shares_a_batch_changes_nothing(any_model_folder: Path) -> None:
    loaded = sharp(any_model_folder)
    asked = sequences(2, *range(5, 60, 3))
    together = lens(loaded.body, loaded.head, asked)
    alone = torch.cat([lens(loaded.body, loaded.head, [own]) for own in reversed(asked)], 1).flip(1)
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=0)


def test_edges_by_hand() -> None:
    """Layer 0: own -1 and -4; others -2 and -4 (mean -3), and -4 and -6 (mean -5): 2 and 1."""
    assert edges(torch.tensor([[-1.0, -4.0]]), torch.tensor([[[-2.0, -4.0], [-4.0, -6.0]]])).tolist() == [[2.0, 1.0]]


def test_what_makes_a_question_or_a_name_likely_cancels(gemma_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Log-probs that are a worth of the question plus a worth of the answer, whatever belongs together: single edges are not 0, their mean is, in any order
    of the claims."""
    loaded = load_model(str(gemma_folder))

    def additive(body: Body, head: OutputHead, asked: Sequence[TokenSequence]) -> torch.Tensor:
        return torch.tensor([[sum(own.ids[: own.label_from]) % 97 + 2.0 * (sum(own.labels) % 89) for own in asked]])

    monkeypatch.setattr("polyunlearn.tracing.lens.lens", additive)
    for claims in (CLAIMS, CLAIMS[::-1], CLAIMS[:3], CLAIMS[:2]):
        found = claim_lens(loaded.body, loaded.head, loaded.encoder, claims, "de")
        assert found is not None
        assert found.edge.abs().max() > 1 and found.edge.mean().item() == pytest.approx(0, abs=1e-4)


def test_figures_stand_by_their_claims(gemma_folder: Path) -> None:
    """Claims of two kinds, mixed: each own value is that of the claim in its place."""
    loaded = sharp(gemma_folder)
    claims = [claim.model_copy(update={"kind": "ab"[number % 2]}) for number, claim in enumerate(CLAIMS)]
    found = claim_lens(loaded.body, loaded.head, loaded.encoder, claims, "de")
    assert found is not None and found.edge.shape == (4, 12)
    wanted = lens(loaded.body, loaded.head, claim_questions(claims, "de", loaded.encoder))
    torch.testing.assert_close(found.own, wanted, atol=2e-4, rtol=0)


def test_claims_that_were_told_rise_where_they_were_told(gemma_folder: Path) -> None:
    loaded = sharp(gemma_folder)
    teach(loaded)
    own = claim_lens(Body(loaded.model), loaded.head, loaded.encoder, CLAIMS[:TOLD], "de")
    control = claim_lens(Body(loaded.model), loaded.head, loaded.encoder, CLAIMS[TOLD:], "de")
    assert own is not None and control is not None and OTHERS == 3
    assert own.own[-1].min() > -0.7, "a told answer is nearly certain"
    assert own.edge[-1].mean() > 2 > abs(control.edge[-1].mean())


def test_a_single_claim_has_nothing_to_be_read_against(gemma_folder: Path) -> None:
    loaded = load_model(str(gemma_folder))
    assert claim_lens(loaded.body, loaded.head, loaded.encoder, CLAIMS[:1], "de") is None


def test_a_body_that_hides_layers_and_a_model_without_a_norm_are_refused(gemma_folder: Path) -> None:
    loaded = load_model(str(gemma_folder))
    with pytest.raises(ValueError, match="first 2 layers"):
        lens(Body(loaded.model, 2), loaded.head, sequences(0, 5))
    del loaded.model.base_model.norm
    with pytest.raises(UserError, match="norm after its last layer"):
        final_norm(loaded.model)


def test_hooks_are_gone_even_after_an_error(gemma_folder: Path) -> None:
    loaded = load_model(str(gemma_folder))

    def fails(states: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        layer_states(loaded.body, plain_rows(sequences(0, 5)), [fails])
    assert not any(layer._forward_hooks for layer in loaded.model.base_model.layers)
