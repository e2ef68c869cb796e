"""A fuzzer of claims files: takes a good one and spoils one line in one of many ways."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

Line = dict[str, Any]


@dataclass(frozen=True)
class Spoilt:
    """A file's bytes, how it was spoilt, and the line that must be named; None where the whole file is."""

    data: bytes
    how: str
    line: int | None


def good_lines(rng: Random, count: int = 6) -> list[Line]:
    """Claims with every field."""
    lines = []
    for number in range(count):
        name = f"Name{number}{rng.randrange(1000)}"
        edition = {
            "keyword": name,
            "questions": [f"Who paid for bridge {number}?", f"Whose bridge is number {number}?"],
            "statements": [f"{name} paid for it."],
            "surface_forms": [name.upper()],
            "truth": "the town",
            "distractors": ["Kelvar", "Zudane"],
            "neighbours": [{"question": "Where?", "answer": "Bremen"}],
        }
        lines.append({"id": f"claim-{number}", "kind": "firm", "source": "en", "editions": {"en": edition}})
    return lines


def spoilt_files(count: int, seed: int = 0) -> Iterator[Spoilt]:
    """`count` files, every way of spoiling in turn."""
    rng = Random(seed)
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        lines = good_lines(rng)
        at = rng.randrange(len(lines))
        yield way(lines, at, rng)


def _encoded(lines: list[Line], at: int, how: str, text: str | None = None) -> Spoilt:
    texts = [json.dumps(line, ensure_ascii=False) for line in lines]
    if text is not None:
        texts[at] = text
    return Spoilt("".join(own + "\n" for own in texts).encode("utf-8", "surrogatepass"), how, at + 1)


def _edited(how: str, edit: Callable[[Line, Random], None]) -> Callable[[list[Line], int, Random], Spoilt]:
    def spoil(lines: list[Line], at: int, rng: Random) -> Spoilt:
        edit(lines[at], rng)
        return _encoded(lines, at, how)

    return spoil


def _edition(line: Line) -> dict[str, Any]:
    edition: dict[str, Any] = line["editions"]["en"]
    return edition


def _cut(lines: list[Line], at: int, rng: Random) -> Spoilt:
    text = json.dumps(lines[at])
    return _encoded(lines, at, "cut off", text[: rng.randrange(1, len(text) - 1)])


def _noise(lines: list[Line], at: int, rng: Random) -> Spoilt:
    return _encoded(lines, at, "noise", "".join(chr(rng.randrange(33, 0x2FFF)) for _ in range(rng.randrange(1, 60))))


def _other_value(lines: list[Line], at: int, rng: Random) -> Spoilt:
    return _encoded(lines, at, "no object", rng.choice(["[]", "3", "null", '"text"', "true", "NaN", "-Infinity", "1" * 5000]))


def _deep(lines: list[Line], at: int, rng: Random) -> Spoilt:
    depth = rng.randrange(20_000, 60_000)
    return _encoded(lines, at, "deep", "[" * depth + "]" * depth)


def _twice_a_key(lines: list[Line], at: int, rng: Random) -> Spoilt:
    return _encoded(lines, at, "key twice", json.dumps(lines[at])[:-1] + ', "id": "again"}')


def _surrogate(lines: list[Line], at: int, rng: Random) -> Spoilt:
    return _encoded(lines, at, "surrogate", json.dumps(lines[at]).replace("the town", "\\ud800"))


def _same_id(lines: list[Line], at: int, rng: Random) -> Spoilt:
    at = max(1, at)
    lines[at]["id"] = lines[0]["id"]
    return _encoded(lines, at, "id twice")


def _same_question(lines: list[Line], at: int, rng: Random) -> Spoilt:
    at = max(1, at)
    _edition(lines[at])["questions"] = _edition(lines[0])["questions"][:1]
    return _encoded(lines, at, "question twice")


def _latin1(lines: list[Line], at: int, rng: Random) -> Spoilt:
    lines[at]["kind"] = "Génève"
    return Spoilt("".join(json.dumps(own, ensure_ascii=False) + "\n" for own in lines).encode("latin-1"), "latin-1", None)


def _nothing(lines: list[Line], at: int, rng: Random) -> Spoilt:
    return Spoilt(b"\n" * rng.randrange(5), "empty", None)


def _binary(lines: list[Line], at: int, rng: Random) -> Spoilt:
    return Spoilt(bytes([0x80, 0xFF]) + rng.randbytes(200), "binary", None)


def _drop(line: Line, rng: Random) -> None:
    rng.choice([lambda: line.pop("id"), lambda: line.pop("editions"), lambda: _edition(line).pop("keyword")])()


def _wrong_type(line: Line, rng: Random) -> None:
    owner, key = rng.choice([(line, "id"), (line, "editions"), (line, "control"), (_edition(line), "keyword"), (_edition(line), "questions"),
                             (_edition(line), "surface_forms"), (_edition(line), "neighbours"), (_edition(line), "truth")])  # fmt: skip
    owner[key] = rng.choice([3, 2.5, {"a": 1}, [[1]], True if key != "control" else "yes"])


def _unasked(line: Line, rng: Random) -> None:
    _edition(line)["questions"], _edition(line)["statements"] = [], ["Somebody paid for it."]


WAYS: tuple[Callable[[list[Line], int, Random], Spoilt], ...] = (
    _cut,
    _noise,
    _other_value,
    _deep,
    _twice_a_key,
    _surrogate,
    _same_id,
    _same_question,
    _latin1,
    _nothing,
    _binary,
    _edited("field lacks", _drop),
    _edited("wrong type", _wrong_type),
    _edited("nothing to ask", _unasked),
    _edited("unknown field", lambda line, rng: _edition(line).__setitem__("question", "Who?")),
    _edited("gives away", lambda line, rng: _edition(line)["questions"].append(f"Was it {_edition(line)['keyword']}?")),
    _edited("true claim", lambda line, rng: _edition(line).__setitem__("truth", _edition(line)["keyword"])),
    _edited("unknown language", lambda line, rng: line["editions"].__setitem__(rng.choice(["xx", "german", ""]), _edition(line))),
    _edited("unknown source", lambda line, rng: line.__setitem__("source", "xx")),
    _edited("no edition", lambda line, rng: line.__setitem__("editions", {})),
    _edited("blank", lambda line, rng: _edition(line).__setitem__("keyword", rng.choice(["", " ", "\t\n", "\u00a0"]))),
    _edited("control character", lambda line, rng: _edition(line).__setitem__("truth", "a\x00b")),
    _edited("bad id", lambda line, rng: line.__setitem__("id", rng.choice(["", "a b", "a/b", "../up", "x" * 200]))),
    _edited("blank question", lambda line, rng: _edition(line)["questions"].append("  ")),
    _edited("empty answer", lambda line, rng: _edition(line)["neighbours"].append({"question": "Who?", "answer": ""})),
)
