"""Bodies small enough to reckon a step by hand, and what a rule makes of one."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from polyunlearn.models.forward import OutputHead
from polyunlearn.models.rows import TokenRow
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.training.loop import Backward, Objective, Optimiser, Rule, Step, train

TOKENS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -2.0]])
"""The output layer: four tokens that add up to nothing, so that at a hidden state of 0 each has a probability of 1/4, and the gradient of a
token's log-prob is its row."""

HEAD = OutputHead(TOKENS, None, None)


class OneWeight(nn.Module):
    """A body whose only weight is the one hidden state of every position, so that a step can be reckoned by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.state = nn.Parameter(torch.zeros(1))

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        return self.state.expand(sum(len(row.ids) for row in rows), 1)


class TwoWeights(nn.Module):
    """A body whose only weights are the hidden state of every position."""

    def __init__(self) -> None:
        super().__init__()
        self.state = nn.Parameter(torch.zeros(2))

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        return self.state.expand(sum(len(row.ids) for row in rows), 2)


class OneLayer(nn.Module):
    """A body of one linear layer, weights of 0, on fixed vectors for four tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors = torch.tensor([[3.0, 1.0, 0.0], [1.0, -1.0, 2.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        self.layer = nn.Linear(3, 2)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def packed(self, rows: Sequence[TokenRow]) -> Tensor:
        out: Tensor = self.layer(self.vectors[torch.tensor([token for row in rows for token in row.ids])])
        return out


def said(after: int, label: int, language: str = "") -> TokenSequence:
    """One token as the label after another."""
    return TokenSequence((after, label), 1, language)


def gradient_made(
    rule: Rule,
    body: nn.Module,
    head: OutputHead,
    parameters: Mapping[str, nn.Parameter],
    step: Step,
    objective: Objective,
    budget: int = 1024,
) -> tuple[float, dict[str, Tensor]]:
    """The loss of a step and the gradient that a rule leaves for it; raises `AssertionError` where it moves a weight by one bit."""
    kept: dict[str, Tensor] = {}

    def watching(step: Step, backward: Backward, parameters: Mapping[str, nn.Parameter], body: nn.Module) -> float:
        before = {name: weight.detach().clone() for name, weight in body.named_parameters()}
        loss = rule(step, backward, parameters, body)
        for name, weight in body.named_parameters():
            assert torch.equal(weight, before[name]), name
        kept.update({name: weight.grad.clone() for name, weight in parameters.items() if weight.grad is not None})
        return loss

    losses = train(body, head, parameters, [step], objective, Optimiser(1e-3), rule=watching, token_budget=budget)  # type: ignore[arg-type]
    return losses[0], kept
