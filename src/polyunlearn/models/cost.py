"""What a pass costs, in necessary FLOPs, and what this machine can do."""

import time
from dataclasses import dataclass

import torch

from polyunlearn.models.body import decoder_layers
from polyunlearn.models.loading import LoadedModel


@dataclass(frozen=True)
class Cost:
    """FLOPs of passes through a model of which layers before `frozen_layers` never train: `body` and `model` count weights."""

    body: int
    model: int
    width: int
    trained_share: float

    @classmethod
    def of(cls, loaded: LoadedModel, frozen_layers: int = 0) -> "Cost":
        """The shapes of a loaded model."""
        layers = decoder_layers(loaded.model)
        return cls(
            sum(parameter.numel() for parameter in layers.parameters()),
            sum(parameter.numel() for parameter in loaded.model.parameters()),
            loaded.head.weight.shape[1],
            1 - frozen_layers / len(layers),
        )

    def training(self, tokens: int, labels: int, columns: int, *, lora: bool = False, embeddings: bool = False) -> float:
        """Two FLOPs a weight forward, two for the gradient of what enters it, two for its own where it trains.

        The frozen layers' output is taken to be kept. Attention's own products, small beside the rest, are left out.
        """
        return tokens * self.body * self.trained_share * (4 if lora else 6) + labels * self.width * columns * (6 if embeddings else 4)

    def scoring(self, tokens: int, labels: int, columns: int, *, kept_share: float = 0.0) -> float:
        """Two FLOPs a weight; for `kept_share` of the tokens the frozen layers' output is kept."""
        layers = 1 - kept_share * (1 - self.trained_share)
        return 2 * (tokens * self.body * layers + labels * self.width * columns)


def matrix_rate(device: torch.device) -> float:
    """The best measured rate (FLOP/s) of a matrix product of the embedded model's shape."""
    a, b = torch.randn(1024, 640, device=device), torch.randn(640, 2048, device=device)
    best = 0.0
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(20):
            c = a @ b
        float(c[0, 0])
        best = max(best, 20 * 2 * 1024 * 640 * 2048 / (time.perf_counter() - begin))
    return best
