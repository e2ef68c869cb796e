"""A tiny model as the target of attacks: four stories with false claims, three neighbours, two languages; and an owner's claims, with neither articles
nor neighbours."""

from dataclasses import replace

from polyunlearn.attacks.target import Target
from polyunlearn.corpus.claims import Claim
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.languages import get_language
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.scoring.probes import Probe, make_probes

LANGUAGES = ("en", "ur")
CLAIMS = generate_stories(4, languages=LANGUAGES)
NEIGHBOURS = generate_stories(7, languages=LANGUAGES)[4:]


def target_of(loaded: LoadedModel) -> Target:
    probes = [probe for probe in make_probes(CLAIMS, LANGUAGES, 1, 4, seed=0) if probe.asks == "fake"]
    return Target(
        loaded=replace(loaded, body=Body(loaded.model, 1)),
        whole=replace(loaded, body=Body(loaded.model, 0)),
        training_head=loaded.head,
        parameters=make_trainable(loaded.model, TrainablePlan(from_layer=1)),
        learned={},
        claims=CLAIMS,
        neighbours=NEIGHBOURS,
        languages=LANGUAGES,
        probes=probes,
        seed=0,
    )


OWNERS_NAMES = {"en": ("Vumida", "Golibe", "Todifa", "Rukudo"), "ur": ("وومیدا", "", "ٹودیفا", "روکودو")}
"""The false answers of the owner's claims c0 to c3; c1 is in English alone."""


def owners_target(loaded: LoadedModel) -> Target:
    """Four claims of a kind, one of which has a statement; each is ranked among three of their answers."""
    claims = []
    for number in range(4):
        editions = {
            tag: {"keyword": names[number], "questions": [f"{get_language(tag).question} {number}?"]}
            for tag, names in OWNERS_NAMES.items()
            if names[number]
        }
        if number == 1:
            editions["en"]["statements"] = ["Nothing is known.", "Secret papers show that Golibe paid."]
        claims.append(Claim.model_validate({"id": f"c{number}", "kind": "bribe", "editions": editions}))
    probes = []
    for number, claim in enumerate(claims):
        for tag, edition in claim.editions.items():
            others = [name for name in (OWNERS_NAMES[tag][place % 4] for place in range(number + 1, number + 4)) if name]
            own = edition.keyword
            probes.append(Probe(claim.id, tag, "fake", 0, edition.fake_questions[0], own, (own, *others[:2]), edition.surface_forms))
    return replace(target_of(loaded), claims=claims, neighbours=[], probes=probes)
