"""How firmly an owner's model holds claims, by how they are asked: in each wording of their questions, and in Latin letters."""

from collections.abc import Collection, Sequence

from torch import Tensor

from polyunlearn.attacks.asking import candidate_tokens
from polyunlearn.attacks.crossing import in_latin_letters
from polyunlearn.cleaning.asking import Asking, asked_languages, claim_probes, compared, restricted_to
from polyunlearn.corpus.claims import Claim
from polyunlearn.intervals import Estimate, estimate
from polyunlearn.models.loading import LoadedModel
from polyunlearn.progress import Work
from polyunlearn.scoring.measure import ranked_questions
from polyunlearn.scoring.probes import Probe
from polyunlearn.scoring.ranking import candidate_log_probs
from polyunlearn.tracing.languages import ByWording


def held_by_wording(
    loaded: LoadedModel,
    claims: Sequence[Claim],
    of: Collection[str],
    asking: Asking,
    work: Work = lambda what, done, total: None,
) -> ByWording:
    """How far the answers of the claims named in `of` lie above what chance gives, each wording by itself; they are compared with all `claims`, as in an audit.
    Costs what an audit does that reads no greedy answers.

    Raises:
        UserError: where no claim has a language that is asked.
    """
    probes = {tag: claim_probes(claims, tag, asking) for tag in asked_languages(claims, asking)}
    head = restricted_to(loaded, (probe for own in probes.values() for probe in own))
    wordings: dict[str, tuple[Estimate | None, ...]] = {}
    romanised: dict[str, Estimate | None] = {}
    for number, (tag, own) in enumerate(probes.items(), start=1):
        scores = candidate_log_probs(loaded.body, head, ranked_questions(own, loaded.encoder))
        rounds = range(max(probe.wording for probe in own) + 1)
        wordings[tag] = tuple(_mean_edge(claims, tag, own, scores, of, wording) for wording in rounds)
        written, questions = in_latin_letters([probe for probe in own if probe.wording == 0], loaded.encoder)
        if written:
            covering = head.covering(candidate_tokens(questions), loaded.head)
            romanised[tag] = _mean_edge(claims, tag, written, candidate_log_probs(loaded.body, covering, questions), of, 0)
        work("asking in every wording", number, len(probes))
    return ByWording("edge", wordings, romanised)


def _mean_edge(
    claims: Sequence[Claim], tag: str, probes: Sequence[Probe], scores: Sequence[Tensor], of: Collection[str], wording: int
) -> Estimate | None:
    """Over those of the claims of which something can be said in this wording."""
    own = [(probe, score) for probe, score in zip(probes, scores, strict=True) if probe.wording == wording]
    found = compared(claims, tag, [probe for probe, _ in own], [score for _, score in own])
    edges = [one.edge for claim, one in found.items() if claim in of and one.p is not None]
    return estimate(edges) if edges else None
