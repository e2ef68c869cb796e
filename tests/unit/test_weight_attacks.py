"""Quantisation and pruning: worked numbers, and what they leave alone."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from handmade_targets import target_of

from polyunlearn.attacks.pruning import SHARES, pruned, pruning
from polyunlearn.attacks.quantisation import VARIANTS as QUANTISED
from polyunlearn.attacks.quantisation import nf4, nf4_levels, quantisation, quantised
from polyunlearn.attacks.target import Variant
from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import RankedQuestion


def test_weights_are_rounded_to_a_grid_a_row() -> None:
    """Three bits have the steps -3 to 3. Row one: the scale is 6 / 3 = 2, so 6, -3, 0.9 become 6, -4 (-1.5 rounds to even), 0. Row two: 0.3 / 3 = 0.1,
    so 0.3, 0.14, -0.06 become 0.3, 0.1, -0.1. A row of zeros stays."""
    weight = torch.tensor([[6.0, -3.0, 0.9], [0.3, 0.14, -0.06], [0.0, 0.0, 0.0]])
    assert quantised(weight, 3).flatten().tolist() == pytest.approx([6, -4, 0, 0.3, 0.1, -0.1, 0, 0, 0])


def test_weights_are_rounded_to_a_grid_a_group() -> None:
    """Two bits have the steps -1 to 1. Groups of two: 4 and 1 become 4, 0; 0.4 and 0.3, whose scale is 0.4, both 0.4; the last stands alone, as it is."""
    assert quantised(torch.tensor([[4.0, 1.0, 0.4, 0.3, 0.01]]), 2, 2).flatten().tolist() == pytest.approx([4, 0, 0.4, 0.4, 0.01])


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_no_weight_moves_by_more_than_half_a_step(bits: int) -> None:
    weight = torch.randn(5, 70, generator=torch.Generator().manual_seed(bits))
    steps = 2 ** (bits - 1) - 1
    for group in (None, 64):
        found = quantised(weight, bits, group)
        assert ((found - weight).abs() <= weight.abs().amax(1, keepdim=True) / steps / 2 + 1e-6).all()
        assert not torch.equal(found, weight)
        assert torch.allclose(quantised(found, bits, group), found)
    with pytest.raises(ValueError, match="two bits or more"):
        quantised(weight, 1)


def test_the_levels_of_nf4_are_the_published_ones() -> None:
    """-1, 0 and 1, and between them what the authors of QLoRA give; each is what so large a share of normal weights lies below."""
    levels = nf4_levels()
    assert (levels[0].item(), levels[7].item(), levels[15].item()) == (-1.0, 0.0, 1.0)
    between = [-0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230]
    assert levels[1:15].tolist() == pytest.approx(between, abs=1e-4)
    # The largest is where a share of 1 - (1/32 + 1/30) / 2 = 0.9677083 lies below, the least above 0 where an eighth of the way from a half to there does.
    largest, smallest = (statistics.NormalDist().inv_cdf(0.5 + 0.4677083 * part) for part in (1, 1 / 8))
    assert levels[8].item() == pytest.approx(smallest / largest, abs=1e-5)


def test_weights_are_rounded_to_nf4_a_group_of_64() -> None:
    """The largest of the first 64 is 2, so that -0.2 is -0.1, nearest to -0.0911, 0.07 is 0.035, nearest to 0, and 1.8 is 0.9, nearest to 1: -0.1821, 0, 2. The
    65th stands alone, as it is; so do zeros."""
    weight = torch.zeros(2, 65)
    weight[0, :4], weight[0, 64] = torch.tensor([2.0, -0.2, 0.07, 1.8]), -0.3
    found = nf4(weight)
    assert found[0, [0, 1, 2, 3, 64]].tolist() == pytest.approx([2.0, -0.1821, 0.0, 2.0, -0.3], abs=1e-4)
    assert not found[0, 4:64].any() and not found[1].any()
    assert nf4(weight.bfloat16()).dtype == torch.bfloat16


def test_nf4_moves_no_weight_by_more_than_half_the_widest_gap() -> None:
    """Of -1 to -0.6962. Rounded once more nothing moves; of normal weights it is nearer to them than the even grid of as many bits."""
    weight = torch.randn(5, 128, generator=torch.Generator().manual_seed(0))
    found = nf4(weight)
    largest = weight.reshape(5, 2, 64).abs().amax(2, keepdim=True).expand(5, 2, 64).reshape(5, 128)
    assert ((found - weight).abs() <= largest * (1 - 0.6961) / 2).all() and not torch.equal(found, weight)
    assert torch.equal(nf4(found), found)
    assert (found - weight).square().mean() < (quantised(weight, 4, 64) - weight).square().mean()


def test_the_smallest_weights_of_a_row_go() -> None:
    """Half of five is two: 0.1 and -0.2; of the other row -1 and 2, large as they are."""
    weight = torch.tensor([[0.1, -3.0, -0.2, 0.5, 1.0], [9.0, -8.0, 7.0, -1.0, 2.0]])
    assert pruned(weight, 0.5).tolist() == [[0, -3.0, 0, 0.5, 1.0], [9.0, -8.0, 7.0, 0, 0]]
    assert torch.equal(pruned(weight, 0.1), weight)


@pytest.mark.parametrize("attack", [quantisation, pruning])
def test_the_model_is_read_under_attack_and_left_as_it_was(gemma: LoadedModel, attack: object) -> None:
    target = target_of(gemma)
    before = {name: own.detach().clone() for name, own in gemma.model.named_parameters()}
    matrices = {name for name, own in before.items() if ".layers." in name and own.ndim == 2}
    expected: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        f"{bits} bits, {f'groups of {group}' if group else 'a row'}": partial(quantised, bits=bits, group=group)
        for bits, group in QUANTISED
    }
    expected["4 bits, NF4, groups of 64"] = nf4
    expected |= {f"{share:.0%} of each row": partial(pruned, share=share) for share in SHARES}
    seen: list[str] = []

    def measure(variant: Variant, own: LoadedModel, probes: Sequence[Probe], questions: Sequence[RankedQuestion]) -> None:
        assert own is target.whole and len(probes) == len(questions)
        for name, now in own.model.named_parameters():
            assert torch.equal(now, expected[variant.name](before[name]) if name in matrices else before[name])
        seen.append(variant.name)

    assert callable(attack)
    attack(target, measure)
    assert all(torch.equal(now, before[name]) for name, now in gemma.model.named_parameters())
    assert seen == [name for name in expected if ("bits" in name) == (attack is quantisation)]
