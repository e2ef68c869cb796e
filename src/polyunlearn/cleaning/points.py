"""States on the way of an unlearning: what is left, what it costs, and which is kept."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from polyunlearn.cleaning.asking import Asking
from polyunlearn.cleaning.audit import audit_claims
from polyunlearn.cleaning.findings import ALPHA, Audit, Finding, staying
from polyunlearn.cleaning.plan import Plan
from polyunlearn.corpus.claims import Claim, Goal, languages_of
from polyunlearn.corpus.stories import Story
from polyunlearn.languages import get_language
from polyunlearn.models.loading import LoadedModel
from polyunlearn.scoring.generation import greedy_answers, read_prompts
from polyunlearn.scoring.measure import Moment, text_rows
from polyunlearn.text import says

ON_THE_WAY = Asking(wordings=1, alternatives=8, max_new_tokens=0)
"""How claims are asked while they are unlearned: less closely, since it is done again and again, and in a wording that is trained on; what they say is read only where nothing else tells. With fewer alternatives it happens that a claim's
answer is drawn for one other question alone, and nothing can be said of it: of twenty claims for one in seven sets of six, in a hundred of eight."""


def on_the_way(claims: Sequence[Claim]) -> Asking:
    """`ON_THE_WAY` with as many alternatives as it takes to say of a claim that it is held: the least p is one in their number times that of the claims of its
    kind."""
    kinds = Counter(claim.kind for claim in claims)
    wanted = max((math.ceil(len(languages_of(claims)) / ALPHA / count) for count in kinds.values()), default=0)
    return replace(ON_THE_WAY, alternatives=min(max(ON_THE_WAY.alternatives, wanted), Asking().alternatives))


@dataclass(frozen=True)
class Point:
    """A state on the way, after `step` steps: how many (claim, language) are `held` beyond chance, of how many this cannot be said, and how many of these the model says, by language the mean `edges` of the claims to unlearn
    of which it can (nats a token), by how much bits per byte of held-out texts have risen, as a share, and of how many (claim, language) that were to stay, away
    from their home, it can no longer be said that they are there (`lost`)."""

    step: int
    held: int
    undecided: int
    edges: dict[str, float]
    bits: dict[str, float]
    said: int = 0
    lost: int = 0

    @property
    def left(self) -> float:
        """The largest edge; 0 where none lies above chance: how far below one lies is no merit."""
        return max((0.0, *self.edges.values()))

    def costs(self) -> float:
        """The rise in the worst language; 0 where nothing rose or nothing was measured, infinite for a model that has diverged."""
        diverged = not all(map(math.isfinite, (*self.bits.values(), *self.edges.values())))
        return math.inf if diverged else max(0.0, 0.0, *self.bits.values())


def choose_point(points: Sequence[Point], budget: float) -> tuple[Point, bool]:
    """The point to keep, and whether it is within the budget: of those that are, the one where fewest are amiss, which are held, or said where that is all there
    is to go by, or lost where they were to stay, then where least is left above chance, then the cheapest. Where none but the beginning is, the one that costs least of those where anything was unlearned."""
    within = [point for point in points if point.costs() <= budget]
    moved = [point for point in within if point.step]
    if moved or len(points) == 1:
        return min(moved or within, key=lambda point: (point.held + point.said + point.lost, point.left, point.costs())), True
    return min(points[1:], key=lambda point: point.costs()), False


class Utility:
    """Bits per byte of held-out texts, against what they were when this was made."""

    def __init__(self, loaded: LoadedModel, stories: Sequence[Story]):
        self._loaded = loaded
        self._stories = stories
        self._before = self._bits()

    def rise(self) -> dict[str, float]:
        """The relative rise of each language."""
        return {tag: now / self._before[tag] - 1 for tag, now in self._bits().items()}

    def _bits(self) -> dict[str, float]:
        tags = list(self._stories[0].editions) if self._stories else []
        values: dict[str, list[float]] = {tag: [] for tag in tags}
        for row in text_rows(self._loaded, self._stories, tags, Moment(0, True)):
            values[row.language].append(row.value)
        return {tag: fmean(own) for tag, own in values.items()}


def audit_on_the_way(loaded: LoadedModel, claims: Sequence[Claim], goal: Goal) -> Audit:
    return audit_claims(loaded, claims, on_the_way(claims), goal=goal, diverged_too=True)


def measure_point(loaded: LoadedModel, claims: Sequence[Claim], plan: Plan, first: Audit, now: Audit, utility: Utility, step: int) -> Point:
    own = [finding for finding in now.findings if finding.claim in plan.claims]
    # Where there is no p, an edge says how likely the name is anywhere, and nothing of the claim.
    told = [one for one in own if one.p is not None]
    edges = {tag: fmean(one.edge for one in told if one.language == tag) for tag in dict.fromkeys(one.language for one in told)}
    states = [now.held(one) for one in own]
    said = _said(loaded, claims, [one for one, state in zip(own, states, strict=True) if state is None])
    return Point(step, states.count(True), states.count(None), edges, utility.rise(), said, len(staying(first, now).lost))


def _said(loaded: LoadedModel, claims: Sequence[Claim], findings: Sequence[Finding]) -> int:
    """How many of these the model says when it is asked in the first wording."""
    editions = {claim.id: claim.editions for claim in claims}
    asked = [(get_language(one.language), editions[one.claim][one.language]) for one in findings]
    prompts = [loaded.encoder.prompt(language, edition.fake_questions[0]) for language, edition in asked]
    answers = greedy_answers(loaded.model, loaded.head, loaded.encoder, read_prompts(loaded.body, prompts), Asking().max_new_tokens)
    return sum(bool(says(answer, edition.surface_forms)) for answer, (_, edition) in zip(answers, asked, strict=True))


def point_line(point: Point) -> str:
    edges = ", ".join(f"{tag} {value:+.2f}" for tag, value in point.edges.items()) or "undecided"
    cost = f"bits per byte {point.costs():+.1%} at worst" if point.bits else "no utility is measured"
    held = f"{point.held} held" + (f", {point.undecided} undecided, {point.said} of these said" if point.undecided else "")
    held += f", {point.lost} lost away from home" if point.lost else ""
    return f"step {point.step}: {held}; above chance, nats a token: {edges}; {cost}"
