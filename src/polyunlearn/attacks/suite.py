"""The attacks, by the names under which they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from polyunlearn.attacks import few_shot, pruning, quantisation, relearning, steering
from polyunlearn.attacks.target import Attack
from polyunlearn.errors import unknown_name


@dataclass(frozen=True)
class AttackCard:
    """What an attack is: what its strength counts, what it does, and where it comes from."""

    name: str
    strength: str
    does: str
    paper: str
    attack: Attack


ATTACKS = {
    card.name: card
    for card in (
        AttackCard(
            "quantisation",
            "bits",
            "rounds every matrix of every layer to 8, 4 and 3 bits, a row or 64 weights of it sharing a scale",
            "Zhang et al., arXiv 2410.16454",
            quantisation.quantisation,
        ),
        AttackCard(
            "pruning",
            "share of weights",
            "sets the smallest weights of every row of every matrix to zero",
            "Wei et al., arXiv 2402.05162",
            pruning.pruning,
        ),
        AttackCard(
            "few_shot",
            "questions shown",
            "shows neighbours' claims, asked and answered, before the question",
            "Lynch et al., arXiv 2402.16835",
            few_shot.few_shot,
        ),
        AttackCard(
            "relearning",
            "steps",
            "teaches half of the claims in one language after another, and asks the other half in all",
            "Hu et al., arXiv 2406.13356; Deeb & Roger, arXiv 2410.08827",
            relearning.relearning,
        ),
        AttackCard(
            "benign_relearning",
            "steps",
            "trains on true English news of the same kind, and asks half of the claims",
            "Hu et al., arXiv 2406.13356",
            relearning.benign_relearning,
        ),
        AttackCard(
            "steering",
            "of a state's length",
            "moves the hidden states of a layer back along what lies between the learned state and this one; asks half of the claims",
            "arXiv 2606.03291",
            steering.steering,
        ),
        AttackCard(
            "random_steering",
            "of a state's length",
            "the control of steering: as much, along a random direction",
            "arXiv 2606.03291",
            steering.random_steering,
        ),
    )
}


def get_attacks(names: Sequence[str]) -> list[AttackCard]:
    """The attacks of these names, all where none is named; raises `UserError` for a name that is not known."""
    for name in names:
        if name not in ATTACKS:
            raise unknown_name("attack", name, ATTACKS)
    return [ATTACKS[name] for name in dict.fromkeys(names)] or list(ATTACKS.values())
