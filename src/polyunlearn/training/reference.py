"""The reference of a method that asks for one: what the state that unlearning starts from makes of an example, computed once."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from polyunlearn.models.body import Body
from polyunlearn.models.forward import OutputHead, label_passes
from polyunlearn.models.sequences import TokenSequence
from polyunlearn.models.trainable import save_state
from polyunlearn.training.labels import Labels, Need
from polyunlearn.training.loop import Objective, Step


class ReferenceCache:
    """What one model state makes of examples, kept in `folder` in one file a state.

    The reference is the state that unlearning starts from, so it is asked before the first step, and no second model is held, nor
    adapters switched off, while training. Of the logits only the hidden states that they are made from are kept, some hundred times less.

    An example is its tokens and where its labels begin; the file is named after everything else that its figures hang on. A file
    that cannot be read is made anew.
    """

    def __init__(self, folder: Path, fingerprint: str):
        self.path = folder / f"reference-{fingerprint}.safetensors"

    def reference(
        self, body: Body, head: OutputHead, wanted: Mapping[TokenSequence, frozenset[Need]], watched: int | None = None
    ) -> "Reference":
        """The reference of each of the sequences `wanted`, as far as their needs go; computes what is not there yet.

        The weights of `body` must be those of the state, those of `head` must not train.
        """
        asked = _asked(wanted, watched)
        known = self._read()
        lacking = [own for own, fields in asked.items() if any(f"{_name(own)}/{name}" not in known for name in fields)]
        for own in lacking:
            # One at a time, so that no value hangs, in its last bits, on which others were lacking.
            known |= {f"{_name(own)}/{name}": value for name, value in _compute(body, head, own, asked[own], watched).items()}
        if lacking:
            save_state(known, self.path)
        return Reference({own: {name: known[f"{_name(own)}/{name}"] for name in fields} for own, fields in asked.items()}, head, watched)

    def _read(self) -> dict[str, Tensor]:
        try:
            return load_file(self.path) if self.path.is_file() else {}
        except SafetensorError:
            return {}


def reference_now(body: Body, head: OutputHead, wanted: Mapping[TokenSequence, frozenset[Need]], watched: int | None = None) -> "Reference":
    """As `ReferenceCache.reference`, of the state as it is now; kept in memory alone."""
    asked = _asked(wanted, watched)
    return Reference({own: _compute(body, head, own, fields, watched) for own, fields in asked.items()}, head, watched)


class Reference:
    """Answers for each sequence what the reference makes of its labels."""

    def __init__(self, table: Mapping[TokenSequence, Mapping[str, Tensor]], head: OutputHead, watched: int | None):
        self._table = table
        self._head = head
        self._watched = watched

    def __call__(self, sequence: TokenSequence) -> Labels:
        """Its labels under the reference, without a gradient; raises `KeyError` for a sequence that was not wanted."""
        device = self._head.weight.device
        found = {name: value.to(device) for name, value in self._table[sequence].items()}
        logits = None
        if "hidden" in found:
            with torch.no_grad():
                logits = self._head.logits(found["hidden"])
        return Labels(found["log_probs"], logits, states=found.get(f"layer{self._watched}"), repeated=found.get("repeated"))


def needs_of(steps: Sequence[Step], objective: Objective) -> dict[TokenSequence, frozenset[Need]]:
    """What an objective needs of each sequence of the steps: what a reference is asked for."""
    wanted: dict[TokenSequence, frozenset[Need]] = {}
    for step in steps:
        for sequences, part in ((step.retain, objective.retain), ((*step.forget, *step.instead), objective.forget)):
            for sequence in sequences:
                wanted[sequence] = wanted.get(sequence, frozenset()) | (part.needs if part else frozenset())
    return wanted


def _asked(wanted: Mapping[TokenSequence, frozenset[Need]], watched: int | None) -> dict[TokenSequence, list[str]]:
    """The names of what is kept of each sequence; those of which nothing is needed are left out."""
    return {own: fields for own, needs in wanted.items() if (fields := _fields(needs, watched))}


def _fields(needs: Iterable[Need], watched: int | None) -> list[str]:
    """The names under which what is needed of the reference is kept."""
    names: dict[Need, str] = {"reference_logits": "hidden", "reference_states": f"layer{watched}", "reference_repeated": "repeated"}
    referring = [need for need in needs if need.startswith("reference")]
    return ["log_probs", *(names[need] for need in referring if need in names)] if referring else []


@torch.no_grad()
def _compute(body: Body, head: OutputHead, sequence: TokenSequence, fields: Iterable[str], watched: int | None) -> dict[str, Tensor]:
    found = label_passes(body, head, [sequence], watched=watched if f"layer{watched}" in fields else None)[0]
    values = {"log_probs": found.log_probs, "hidden": found.hidden, f"layer{watched}": found.watched}
    if "repeated" in fields:
        before = torch.tensor(sequence.labels[:-1], dtype=torch.long, device=found.hidden.device)
        values["repeated"] = nn.functional.pad(head.log_probs(found.hidden[1:], before), (1, 0), value=-torch.inf)
    return {name: value.cpu().contiguous() for name in fields if (value := values[name]) is not None}


def state_fingerprint(*, model: str, weights: Mapping[str, Tensor], columns: Tensor | None) -> str:
    """A short hash of what a reference hangs on beside the example: the untrained model (which brings its tokeniser), the weights that were
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
