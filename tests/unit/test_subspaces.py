"""What languages share in a layer and what tells them apart, by hand and on stories; and unlearning through it."""

import math
from pathlib import Path

import pytest
import torch

from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.errors import UserError
from polyunlearn.models.body import Body
from polyunlearn.models.loading import load_model
from polyunlearn.tracing.subspaces import direction, lengths_within, named_bases, story_means, subspaces
from polyunlearn.training.gradients.parts import within


def test_by_hand() -> None:
    """Means (2, 1) and (0, 1) lie on the line y = 1, whose nearest point to the origin is (0, 1), not their mean (1, 1): shared is (0, 1), specific (1, 0)."""
    found = subspaces(torch.tensor([[2.0, 1.0], [0.0, 1.0]]))
    assert found.shared[:, 0].tolist() == pytest.approx([0, 1], abs=1e-6)
    assert found.specific.abs()[:, 0].tolist() == pytest.approx([1, 0], abs=1e-6)


def test_lengths_by_hand() -> None:
    """Of (2, 1) and (0, 1), whose shared direction is (0, 1): 1 + 1 of 4 + 1 + 0 + 1 lies along it, 4 across. Two languages with one mean have nothing of their own,
    and means of no length nothing at all."""
    assert lengths_within(torch.tensor([[2.0, 1.0], [0.0, 1.0]])) == pytest.approx((1 / 3, 2 / 3))
    assert lengths_within(torch.tensor([[2.0, 1.0], [2.0, 1.0]])) == pytest.approx((1, 0))
    assert lengths_within(torch.zeros(2, 3)) == (0, 0)


def test_lengths_are_those_of_the_subspaces() -> None:
    means = torch.randn(5, 12, generator=torch.Generator().manual_seed(1)) + 0.5
    found = subspaces(means)
    shares = [((means @ basis).square().sum() / means.square().sum()).item() for basis in (found.shared, found.specific)]
    assert lengths_within(means) == pytest.approx(shares, abs=1e-5)


def test_every_language_is_alike_on_the_shared_direction() -> None:
    """Of five languages in twelve dimensions: the same length along it, the whole rest in four orthonormal directions; a language moved along with all
    others in the specific space moves the shared direction nowhere."""
    means = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)) + 3
    found = subspaces(means)
    along = (means @ found.shared)[:, 0]
    assert along.tolist() == pytest.approx([along[0].item()] * 5, rel=1e-4)
    assert found.specific.shape == (12, 4)
    basis = torch.cat([found.shared, found.specific], dim=1)
    assert torch.allclose(basis.T @ basis, torch.eye(5), atol=1e-5)
    assert torch.allclose(means @ basis @ basis.T, means, atol=1e-4)
    moved = subspaces(means + found.specific[:, 0])
    assert math.isclose(abs(float(moved.shared[:, 0] @ found.shared[:, 0])), 1.0, rel_tol=1e-5)


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        subspaces(torch.ones(1, 4))
    with pytest.raises(ValueError, match="the same mean"):
        subspaces(torch.ones(2, 4))


def test_of_stories_in_every_layer(any_model_folder: Path) -> None:
    loaded = load_model(str(any_model_folder))
    stories = generate_stories(3, languages=("en", "de", "ur"))
    languages = ("en", "de", "ur")
    means = story_means(Body(loaded.model, 0), loaded.encoder, stories, languages)
    assert means.shape == (loaded.model.config.num_hidden_layers, 3, 32)
    for name, rank in (("shared", 1), ("specific", 2), ("ur", 1)):
        bases = named_bases(means, languages, name)
        assert len(bases) == len(means) and all(own.shape == (32, rank) for own in bases)
        assert all(torch.allclose(own.T @ own, torch.eye(rank), atol=1e-5) for own in bases)
    with pytest.raises(UserError, match="name another"):
        story_means(Body(loaded.model, 0), loaded.encoder, stories, ("en",))


def test_the_direction_of_a_language_by_hand() -> None:
    """English (1, 0, 2), German (1, 3, 2) and Urdu (5, 0, 2) are alike on the third axis, and differ on the first two: German lies (0, 3, 0) from English, Urdu (4, 0, 0). Of a
    gradient (1, 2, 7) German's direction passes (0, 2, 0), Urdu's (1, 0, 0), what is specific both, what is shared the rest. In another order of the languages as well."""
    means = {"en": (1.0, 0.0, 2.0), "de": (1.0, 3.0, 2.0), "ur": (5.0, 0.0, 2.0)}
    gradient = torch.tensor([1.0, 2.0, 7.0])
    wanted = {"de": [0, 2, 0], "ur": [1, 0, 0], "specific": [1, 2, 0], "shared": [0, 0, 7]}
    for languages in (("en", "de", "ur"), ("ur", "de", "en")):
        layer = torch.tensor([means[tag] for tag in languages])
        for name, passed in wanted.items():
            (basis,) = named_bases(layer[None], languages, name)
            assert within(gradient, basis).tolist() == pytest.approx(passed, abs=1e-5)
        own, english = (layer[languages.index(tag)] for tag in ("ur", "en"))
        assert direction(own, english, subspaces(layer).specific).tolist() == pytest.approx([4, 0, 0], abs=1e-5)
