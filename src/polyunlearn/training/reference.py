"""The reference of a method that asks for one: what the answers to forget were worth before unlearning, computed once an example."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import save_state

Score = Callable[[list[TokenSequence]], list[Tensor]]
"""Per-token log-probs (nats) of the labels of each sequence, in the order given."""


class ReferenceCache:
    """Log-probs of labels under one model state, kept in `folder` in one file a state.

    The reference is the state that unlearning starts from, so it is asked before the first step, and no second model is held, nor
    adapters switched off, while training. An example is its tokens and where its labels begin; the file is named after everything else that its
    log-probs hang on. A file that cannot be read is made anew.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.path = folder / f"reference-{fingerprint}.safetensors"

    def log_probs(self, sequences: Iterable[TokenSequence], score: Score) -> dict[TokenSequence, Tensor]:
        """The log-probs of each distinct sequence; `score` is asked for those that are not there yet."""
        names = {sequence: _name(sequence) for sequence in sequences}
        known = self._read()
        lacking = [sequence for sequence, name in names.items() if name not in known]
        if lacking:
            known |= {names[sequence]: found.contiguous() for sequence, found in zip(lacking, score(lacking), strict=True)}
            save_state(known, self.path)
        return {sequence: known[name] for sequence, name in names.items()}

    def _read(self) -> dict[str, Tensor]:
        try:
            return load_file(self.path) if self.path.is_file() else {}
        except SafetensorError:
            return {}


def state_fingerprint(*, model: str, weights: Mapping[str, Tensor], columns: Tensor | None) -> str:
    """A short hash of what log-probs hang on beside the example: the untrained model (which brings its tokeniser), the weights that were
    trained, every value of them, and the tokens that the output layer is restricted to."""
    digest = hashlib.sha256(model.encode())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    if columns is not None:
        digest.update(_bytes(columns))
    return digest.hexdigest()[:16]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes()


def _name(sequence: TokenSequence) -> str:
    return hashlib.sha256(repr((sequence.ids, sequence.label_from)).encode()).hexdigest()[:24]
