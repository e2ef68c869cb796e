"""A tiny model as the target of attacks: four stories with false claims, three neighbours, two languages."""

from dataclasses import replace

from polyunlearn.attacks.target import Target
from polyunlearn.corpus.newsroom import generate_stories
from polyunlearn.models.body import Body
from polyunlearn.models.loading import LoadedModel
from polyunlearn.models.trainable import TrainablePlan, make_trainable
from polyunlearn.scoring.probes import make_probes

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
