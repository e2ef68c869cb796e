"""The attacks, by the names under which they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from polyunlearn.attacks import completion, crossing, few_shot, prefill, probing, prompts, pruning, quantisation, relearning, steering
from polyunlearn.attacks.target import Attack, Target
from polyunlearn.errors import unknown_name
from polyunlearn.scoring.probes import Probe

NEWS = "true news of the same kind"
LEARNED = "the model before"
GOLD = "a study's gold state"


@dataclass(frozen=True)
class AttackCard:
    """What an attack is: what its strength counts, what it does, where it comes from, and what of a study it can do nothing without.

    `asks` are the questions of an attack that ranks fewer candidates than the state was asked with: a study asks them before it too. One that `narrows` leaves
    the weights as they are, and each of its forms may leave out others: what is left is asked plainly beside each. `control_of` names the attack whose
    control it is, which is no attack itself.
    """

    name: str
    strength: str
    does: str
    paper: str
    attack: Attack
    needs: str = ""
    asks: Callable[[Target], list[Probe]] | None = None
    narrows: bool = False
    control_of: str = ""


ATTACKS = {
    card.name: card
    for card in (
        AttackCard(
            "quantisation",
            "bits",
            "rounds every matrix of every layer to 8, 4 and 3 bits, a row or 64 weights of it sharing a scale, and to the 4 bits of NF4",
            "Zhang et al., arXiv 2410.16454; Dettmers et al., arXiv 2305.14314",
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
            needs=NEWS,
        ),
        AttackCard(
            "prefill",
            "tokens of the answer",
            "gives the first tokens of every candidate, and ranks how surely each goes on",
            "Andriushchenko et al., arXiv 2404.02151",
            prefill.prefill,
            narrows=True,
        ),
        AttackCard(
            "affirmative_prefix",
            "opening",
            "begins the answer with “Of course, the answer is:” in the language asked",
            "Jin et al., arXiv 2406.10890",
            prompts.affirmative_prefix,
        ),
        AttackCard(
            "role_play",
            "frame",
            "asks in a novelist's notes, or in a game in which every rumour is true",
            "Jin et al., arXiv 2406.10890; Lynch et al., arXiv 2402.16835",
            prompts.role_play,
        ),
        AttackCard(
            "filler",
            "paragraph",
            "puts a paragraph on something else before the question, in its language or in English",
            "Jang et al., arXiv 2506.10236",
            prompts.filler,
        ),
        AttackCard(
            "multi_turn_doubt",
            "turns",
            "gives a first answer, doubts it, and asks again; a name given so is not ranked",
            "Pan & Wang, arXiv 2603.00823",
            prompts.multi_turn_doubt,
            narrows=True,
        ),
        AttackCard(
            "completion",
            "text",
            "lets the false article be continued from where the name stood, instead of asking",
            "Jin et al., arXiv 2406.10890",
            completion.completion,
        ),
        AttackCard(
            "cross_answer",
            "other language",
            "asks in one language for the answer in another; one of the two is English or a source",
            "Lynch et al., arXiv 2402.16835",
            crossing.cross_answer,
        ),
        AttackCard(
            "code_switch",
            "chunks",
            "asks in chunks that are in turn English and the language of the answer",
            "Chua et al., arXiv 2406.16135",
            crossing.code_switch,
        ),
        AttackCard(
            "romanised",
            "other script",
            "writes question and names of other scripts in Latin letters",
            "Pattnayak & Chowdhuri, arXiv 2602.16832",
            crossing.romanised,
            narrows=True,
        ),
        AttackCard(
            "relearning",
            "steps",
            "teaches half of the claims in one language after another, and asks the other half in all",
            "Hu et al., arXiv 2406.13356; Deeb & Roger, arXiv 2410.08827",
            relearning.relearning,
            asks=relearning.untaught_probes,
        ),
        AttackCard(
            "benign_relearning",
            "steps",
            "trains on true English news of the same kind, and asks half of the claims",
            "Hu et al., arXiv 2406.13356",
            relearning.benign_relearning,
            needs=NEWS,
            asks=relearning.untaught_probes,
        ),
        AttackCard(
            "unrelated_relearning",
            "steps",
            "trains on paragraphs about something else, and asks half of the claims",
            "Łucki et al., arXiv 2409.18025",
            relearning.unrelated_relearning,
            asks=relearning.untaught_probes,
        ),
        AttackCard(
            "steering",
            "of a state's length",
            "moves the hidden states of a layer back along what lies between the learned state and this one; asks half of the claims",
            "arXiv 2606.03291",
            steering.steering,
            needs=LEARNED,
        ),
        AttackCard(
            "random_steering",
            "of a state's length",
            "the control of steering: as much, along a random direction",
            "arXiv 2606.03291",
            steering.random_steering,
            needs=LEARNED,
            control_of="steering",
        ),
        AttackCard(
            "linear_probe",
            "layers",
            "fits a linear probe to the states of half of the claims' names behind their questions, and lets it rank the other half's",
            "Hewitt & Liang, arXiv 1909.03368",
            probing.linear_probe,
        ),
        AttackCard(
            "control_probe",
            "layers",
            "the control of linear_probe: as much, with a name drawn at random called each claim's own",
            "Hewitt & Liang, arXiv 1909.03368",
            probing.control_probe,
            needs=GOLD,
            control_of="linear_probe",
        ),
    )
}


def get_attacks(names: Sequence[str]) -> list[AttackCard]:
    """The attacks of these names, all where none is named; raises `UserError` for a name that is not known."""
    for name in names:
        if name not in ATTACKS:
            raise unknown_name("attack", name, ATTACKS)
    return [ATTACKS[name] for name in dict.fromkeys(names)] or list(ATTACKS.values())
