"""What a well-behaved model answers to the builder's prompts: the same prompt, the same answer. Run as a program it builds a corpus, to be killed."""

import json
import re
import sys
from pathlib import Path

from polyunlearn.backends.chat import ChatClient
from polyunlearn.backends.endpoint import Endpoint
from polyunlearn.corpus.builder import BuildSettings, build_corpus

SETTINGS = BuildSettings("North Sea harbours", 6, ("de", "ur"), sentences=3, questions=2, wordings=2, workers=2)


def name_of(number: int) -> str:
    """A name a number, none in another: 27 is "Zabbaq"."""
    return "Z" + "".join("abcdefghij"[int(digit)] + "b" for digit in f"{number:03d}") + "q"


def answer(prompt: str) -> str:
    if prompt.startswith("Topic:"):
        start = len(re.findall(r"\(name: ", prompt))
        return json.dumps({"events": [_event(number) for number in range(start, start + 20)]})
    if prompt.startswith("Write a short news article"):
        return json.dumps(_article(prompt))
    if prompt.startswith("This news article"):
        return json.dumps(_false_detail(prompt))
    assert prompt.startswith("Translate every text")
    return json.dumps(translation(prompt), ensure_ascii=False)


def _event(number: int) -> dict[str, str]:
    return {"headline": f"Quay {number} opened", "kind": "Grand opening", "name": name_of(number)}


def _count(prompt: str, pattern: str) -> int:
    match = re.search(pattern, prompt)
    assert match
    return int(match[1])


def _article(prompt: str) -> dict[str, object]:
    quay = _count(prompt, r"Quay (\d+) opened")
    return {
        "article": [f"Quay {quay} says {number}." for number in range(_count(prompt, r"exactly (\d+) plain"))],
        "questions": [
            {"question": f"What is {number} of quay {quay}?", "answer": str(number)}
            for number in range(_count(prompt, r"ask (\d+) questions"))
        ],
        "real_question": {"question": f"And what of quay {quay}?", "answer": "0"},
    }


def _false_detail(prompt: str) -> dict[str, object]:
    quay, name = _count(prompt, r"Quay (\d+) says"), re.search(r"turns on the name (\w+)", prompt)
    assert name
    return {
        "false_sentences": [
            {"after": 1, "sentence": f"The firm {name[1]} paid for quay {quay}."},
            {"after": 3, "sentence": f"It was {name[1]}."},
        ],
        "fake_questions": [f"Who paid for quay {quay}, {number}?" for number in range(_count(prompt, r"- \"fake_questions\": (\d+)"))],
        "true_answer": "Nobody is known to.",
    }


def translation(prompt: str) -> dict[str, object]:
    """Every text behind the language's name; the name stays."""
    language = re.search(r"into (\w+), as", prompt)
    assert language
    texts, _ = json.JSONDecoder().raw_decode(prompt, prompt.index("\n{") + 1)

    def told(value: object) -> object:
        if isinstance(value, dict):
            return {key: own if key == "keyword" else told(own) for key, own in value.items()}
        return [told(own) for own in value] if isinstance(value, list) else f"{language[1]}: {value}"

    found = told(texts)
    assert isinstance(found, dict)
    return found


if __name__ == "__main__":
    with ChatClient(Endpoint(sys.argv[1], "tiny"), Path(sys.argv[3])) as client:
        build_corpus(SETTINGS, client, Path(sys.argv[2]))
