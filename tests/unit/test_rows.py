"""Token rows: a forest of sequences that share their beginnings."""

from random import Random

from polyunlearn.models.rows import TokenRow, common_length, forest


def test_a_forest_by_hand() -> None:
    """1 2 3, 1 2 4 and 5: tokens 1 2 3 4 5 at depths 0 1 2 2 0; 1 and 2 end behind the 4, the others behind themselves."""
    row, places = forest([(5,), (1, 2, 4), (1, 2, 3), (1, 2)])
    assert row == TokenRow((1, 2, 3, 4, 5), (0, 1, 2, 2, 0), (4, 4, 3, 4, 5))
    assert places == [(4,), (0, 1, 3), (0, 1, 2), (0, 1)]


def test_running_text_is_a_forest_of_one() -> None:
    assert forest([(4, 5, 6)]) == (TokenRow.plain((4, 5, 6)), [(0, 1, 2)])


def test_joined_rows_end_where_they_ended() -> None:
    """Two rows of 2 and 3 tokens: positions begin again, and the second's ends move by 2."""
    joined = TokenRow.joined([TokenRow.plain((7, 8)), TokenRow((1, 2, 3), (0, 1, 1), (3, 2, 3))])
    assert joined == TokenRow((7, 8, 1, 2, 3), (0, 1, 0, 1, 1), (2, 2, 5, 4, 5))


def test_every_sequence_is_in_its_places_and_sees_itself_alone() -> None:
    """200 random sequences over three letters: what each token sees is exactly its own beginning, and nothing is there twice."""
    rng = Random(1)
    sequences = [tuple(rng.choices((1, 2, 3), k=rng.randint(1, 6))) for _ in range(200)]
    row, places = forest(sequences)
    assert len(row.ids) == len({sequence[:size] for sequence in sequences for size in range(1, len(sequence) + 1)})
    for sequence, own in zip(sequences, places, strict=True):
        assert tuple(row.ids[place] for place in own) == sequence
        assert tuple(row.positions[place] for place in own) == tuple(range(len(sequence)))
        for place in own:
            assert [k for k in range(len(row.ids)) if k <= place < row.ends[k]] == list(own[: own.index(place) + 1])


def test_common_length() -> None:
    assert [common_length(*pair) for pair in (("abc", "abd"), ("ab", "abc"), ("", "a"), ("x", "y"), ("ab", "ab"))] == [2, 2, 0, 0, 2]
