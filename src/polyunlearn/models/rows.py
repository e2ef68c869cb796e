"""Token rows: tokens that share one forward pass, in which sequences that begin alike have their beginning computed once."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TokenRow:
    """Tokens laid out as a forest, depth first: each sees itself and those it stands behind, as in running text of its own.

    `positions` are those that each token has in its own text, `ends[k]` the place after the last token that stands behind token k:
    token q sees token k where k <= q < ends[k]. Running text is a tree without branches. Keys and values of the places `reads`
    are asked for by `Body.read`.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    ends: tuple[int, ...]
    reads: tuple[int, ...] = ()

    @classmethod
    def plain(cls, ids: tuple[int, ...]) -> "TokenRow":
        """A row of running text."""
        return cls(ids, tuple(range(len(ids))), (len(ids),) * len(ids))

    @classmethod
    def joined(cls, rows: Sequence["TokenRow"]) -> "TokenRow":
        """Rows laid end to end, none of which sees another."""
        ends: list[int] = []
        for row in rows:
            at = len(ends)
            ends += [at + end for end in row.ends]
        return cls(tuple(token for row in rows for token in row.ids), tuple(place for row in rows for place in row.positions), tuple(ends))


def forest(sequences: Sequence[tuple[int, ...]]) -> tuple[TokenRow, list[tuple[int, ...]]]:
    """One row that holds every sequence, common beginnings once, and the places of each sequence's tokens in it, in the order given."""
    ids: list[int] = []
    positions: list[int] = []
    ends: list[int] = []
    places: dict[tuple[int, ...], tuple[int, ...]] = {}
    path: list[int] = []
    # In sorted order each sequence shares most with the one before it, so one path back to the root is enough to know.
    for sequence in sorted(set(sequences)):
        shared = common_length([ids[place] for place in path], sequence)
        for place in path[shared:]:
            ends[place] = len(ids)
        del path[shared:]
        for token in sequence[shared:]:
            positions.append(len(path))
            path.append(len(ids))
            ids.append(token)
            ends.append(0)
        places[sequence] = tuple(path)
    for place in path:
        ends[place] = len(ids)
    return TokenRow(tuple(ids), tuple(positions), tuple(ends)), [places[sequence] for sequence in sequences]


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many items two sequences have in common from the beginning."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
