"""The verdict on a study in words: what spread where, what unlearning left and cost, what attacks bring back. It says no more than the intervals do."""

from collections.abc import Collection, Sequence

from polyunlearn.analysis.clusters import FEWEST
from polyunlearn.analysis.matrices import Left, Lost, quality_lost, unlearn_transfer
from polyunlearn.analysis.recovery import Hardest, Recovery, hardest
from polyunlearn.analysis.summary import CellFigures
from polyunlearn.analysis.tables import SpreadCell, WayNames, spread_matrix
from polyunlearn.attacks.suite import ATTACKS
from polyunlearn.intervals import Estimate
from polyunlearn.languages import get_language
from polyunlearn.report.attacks import form_text
from polyunlearn.study.config import StudyConfig
from polyunlearn.study.store import Store

AT_MOST = 5
"""Ways of unlearning that a sentence names one by one."""

NOTHING_YET = "Nothing is learned yet, so there is nothing to say."


NOT_ATTACKED = "No attack was run, so whether the claims can be brought back is not known."


def verdict(config: StudyConfig, store: Store, figures: Sequence[CellFigures]) -> str:
    """A paragraph on the finished cells of a study, with several sources one on each and one on all, with an empty line between.

    Something is said to be so where the 95 % interval carries it; otherwise what it leaves open is said.
    """
    matrix = spread_matrix(figures)
    if not matrix:
        return NOTHING_YET
    named = WayNames.of(config.strategies, config.methods)
    left, lost = unlearn_transfer(config, store), quality_lost(config, store)
    paragraphs = []
    for line in matrix:
        sentences = []
        source = line[0].source
        sentences += _spread(line)
        if own := [one for one in left if one.source == source]:
            sentences += _left(own, named, _broken([item for item in figures if item.cell.source == source], named))
            sentences += _cost([one for one in lost if one.source == source], named)
        sentences += _collapse([item for item in figures if item.cell.source == source], named)
        paragraphs.append(sentences)
    sentences = []
    if left:
        sentences += _attacked(hardest(config, store), named) if store.is_attacked() else [NOT_ATTACKED]
    sentences.append(_scope(config, len({item.cell.seed for item in figures if item.cell.state == "learned"}), unlearned=bool(left)))
    if len(paragraphs) == 1:
        return " ".join([*paragraphs[0], *sentences])
    return "\n\n".join(map(" ".join, [*paragraphs, sentences]))


def _spread(line: Sequence[SpreadCell]) -> list[str]:
    everywhere = [cell for cell in line if cell.reached == cell.seeds]
    partly = [cell for cell in line if 0 < cell.reached < cell.seeds]
    open_ = [cell for cell in line if not cell.reached]
    parts = []
    if everywhere:
        added = sorted(cell.added for cell in everywhere)
        parts.append(f"surface in {_names(everywhere)} (fake rank {_span(added)} above base)")
    if partly:
        parts.append(
            f"surface not in every seed in {_listed([f'{_name(cell.language)} ({cell.reached} of {cell.seeds})' for cell in partly])}"
        )
    if open_:
        parts.append(f"are not shown to reach {_names(open_)}")
    return [f"Claims learned in {_name(line[0].source)} {'; they '.join(parts)}."]


def _left(own: Sequence[Left], named: WayNames, broken: Collection[str]) -> list[str]:
    """What each way leaves in its worst language, the least first, and whether that order is settled; a model that broke has no place in it."""
    by_way: dict[str, list[tuple[Estimate, str]]] = {}
    for one in own:
        if one.residual and named(one.strategy, one.method) not in broken:
            by_way.setdefault(named(one.strategy, one.method), []).append((one.residual, one.language))
    if not by_way:
        return []
    ways = sorted(by_way, key=lambda way: max(residual.mean for residual, _ in by_way[way]))
    shown = ways if len(ways) <= AT_MOST else ways[: AT_MOST - 1]
    parts = [f"{way} {_worst(by_way[way])}" for way in shown]
    if len(shown) < len(ways):
        parts.append(f"{len(ways) - len(shown)} others with larger means, {ways[-1]} the largest, {_worst(by_way[ways[-1]])}")
    how = f" ({named.common})" if named.common and len(ways) > 1 else ""
    sentences = [f"Of that, unlearning{how} leaves in the worst language: {'; '.join(parts)}."]
    if len(ways) > 1 and max(residual.n for ones in by_way.values() for residual, _ in ones) < FEWEST:
        sentences.append("With so few stories their order is not settled.")
    elif len(ways) > 1:
        reach = max(residual.high for residual, _ in by_way[ways[0]])
        rivals = [way for way in ways[1:] if max(residual.low for residual, _ in by_way[way]) <= reach]
        leading = [ways[0], *rivals] if len(rivals) < AT_MOST else [ways[0], *rivals[: AT_MOST - 2], f"{len(rivals) - AT_MOST + 2} others"]
        settled = f"{ways[0]} leaves least" if not rivals else f"which of {_listed(leading)} leaves least is not settled"
        sentences.append(f"By these intervals {settled}.")
    return sentences


def _worst(residuals: Sequence[tuple[Estimate, str]]) -> str:
    """The most that is surely left in a language, and how much more may be in another; else how much may be."""
    sure = [one for one in residuals if one[0].low > 0 and one[0].n >= FEWEST]
    if sure:
        own, language = max(sure, key=lambda one: one[0].mean)
        most, elsewhere = max(residuals, key=lambda one: one[0].high)
        also = f" (up to {most.high:z.2f} in {_name(elsewhere)} is not excluded)" if most.high > own.high else ""
        return f"{own.mean:z.2f} [{own.low:z.2f}, {own.high:z.2f}] in {_name(language)}{also}"
    own, language = max(residuals, key=lambda one: one[0].high)
    return f"nothing for sure (up to {max(0.0, own.high):z.2f} in {_name(language)} is not excluded)"


def _cost(own: Sequence[Lost], named: WayNames) -> list[str]:
    """Where real quality surely fell, in each way's worst language; how much may have been lost elsewhere."""
    if not own:
        return ["No language knew the real stories well enough to say what it cost."]
    by_way: dict[str, list[Lost]] = {}
    for one in own:
        by_way.setdefault(named(one.strategy, one.method), []).append(one)
    sure = {way: [one for one in ones if one.quality.low > 0 and one.quality.n >= FEWEST] for way, ones in by_way.items()}
    sentences = []
    fell = [f"{way} ({_drop(max(ones, key=lambda one: one.quality.mean))})" for way, ones in sure.items() if ones]
    if fell:
        sentences.append(f"It cost real quality with {_listed(fell)}.")
    open_ = [one.quality.high for way, ones in by_way.items() if not sure[way] for one in ones]
    if open_:
        subject = "With the others no" if fell else "No"
        sentences.append(
            f"{subject} loss of real quality is shown, though one of up to {max(0.0, *open_):z.2f} in some language is not excluded."
        )
    return sentences


def _drop(own: Lost) -> str:
    return f"{own.quality.mean:z.2f} [{own.quality.low:z.2f}, {own.quality.high:z.2f}] in {_name(own.language)}"


def _broken(own: Sequence[CellFigures], named: WayNames) -> dict[str, list[bool]]:
    """The ways with which the model broke in some seed, and in which of them."""
    by_way: dict[str, list[bool]] = {}
    for item in own:
        if item.cell.strategy and item.cell.method:
            by_way.setdefault(named(item.cell.strategy, item.cell.method), []).append(bool(item.collapse))
    return {way: seeds for way, seeds in by_way.items() if any(seeds)}


def _collapse(own: Sequence[CellFigures], named: WayNames) -> list[str]:
    """The ways with which the model broke, with in how many of their seeds."""
    found = _broken(own, named).items()
    broken = [way if all(seeds) else f"{way} ({sum(seeds)} of {len(seeds)} seeds)" for way, seeds in found]
    return [f"The model collapsed with {_listed(broken)}, which is no cleaning."] if broken else []


def _attacked(found: Sequence[Hardest], named: WayNames) -> list[str]:
    """The attack that brings most back in the language where it does so, beyond gold."""
    found = [own for own in found if not ATTACKS[own.attempt.attack].control_of]
    if not found:
        return ["Of no attack is there a figure beside gold's, so whether the claims can be brought back is not known."]

    def sure(one: Recovery) -> bool:
        return one.excess.low > 0 and one.excess.n >= FEWEST

    def strongest(among: Sequence[Recovery], does: str) -> tuple[str, str]:
        own = max(among, key=lambda one: one.excess.mean)
        where = f"asked in {_name(own.language)}, {_name(own.source)} claims, {named(own.strategy, own.method)}"
        figures = f"{own.excess.mean:+z.2f} [{own.excess.low:+z.2f}, {own.excess.high:+z.2f}] of fake rank"
        return f"{own.attempt.attack} with {form_text(own.attempt)}, {does} {figures}", where

    # One that surely brings something back comes before a larger figure that may be nothing; the language chosen on the other stories before the others.
    chosen = [own.by_language[own.worst] for own in found]
    every = [one for own in found for one in own.by_language.values()]
    if surely := [one for one in chosen if sure(one)]:
        said, where = strongest(surely, "brings back")
        tried = f"the largest surely above 0 of {len(found)} such figures" if len(found) > 1 else "the only figure"
        return [f"The strongest attack, {said} more than in gold ({where}; {tried}, which its interval does not count)."]
    said, where = strongest(chosen, "has")
    nothing = (
        "No attack is shown to bring back more than in gold in the language where it had done most on other stories; the strongest, "
        f"{said} ({where})."
    )
    if not (elsewhere := [one for one in every if sure(one)]):
        return [nothing]
    said, where = strongest(elsewhere, "brings back")
    return [nothing, f"In another language {said} more ({where}; the largest of {len(every)} figures, which its interval does not count)."]


def _scope(config: StudyConfig, seeds: int, *, unlearned: bool) -> str:
    of_seeds = "one seed, and say nothing of others" if seeds == 1 else f"{seeds} seeds, few for saying what another would give"
    asked = (
        "Claims were asked in the wordings that were unlearned, and in others more may be left. "
        if unlearned and config.unlearning.form == "question" and config.unlearning.wordings == config.scoring.wordings
        else ""
    )
    return f"{asked}Intervals (95 %) are of {config.stories} stories in {of_seeds}; they are not adjusted for how many are read together."


def _span(values: Sequence[float]) -> str:
    """From the least to the largest, or the one value."""
    ends = dict.fromkeys(f"{value:+z.2f}" for value in (values[0], values[-1]))
    return " to ".join(ends)


def _names(cells: Sequence[SpreadCell]) -> str:
    return _listed([_name(cell.language) for cell in cells])


def _name(tag: str) -> str:
    return get_language(tag).name


def _listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
