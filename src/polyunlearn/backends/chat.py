"""A chat model behind any OpenAI-compatible endpoint (vLLM, llama.cpp, `transformers serve`, a provider), asked for JSON and checked."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from polyunlearn.backends.cache import AnswerCache
from polyunlearn.backends.endpoint import Connection, Endpoint, RefusedError
from polyunlearn.errors import UserError

TRIES = 3
"""How often a question is asked while its answers are of no use."""

_DEFAULTS = {"max_tokens": 4096, "response_format": {"type": "json_object"}}

Item = TypeVar("Item")


class UnusableAnswerError(UserError):
    """The model answered, and none of its answers could be used; `reasons` says why, one an answer. Other requests may go on."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"no answer of the model could be used: {'; then: '.join(reasons)}")
        self.reasons = reasons


@dataclass(frozen=True)
class Usage:
    """What was asked: `requests` sent that got an answer, answers taken from the cache, and the tokens that the endpoint counted."""

    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


class ChatClient:
    """Asks one endpoint, from any number of threads, and keeps every answer that could be used in `cache` (a folder).

    An answer is kept under a hash of the whole request but not of the endpoint's address, so a server may move.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: Path,
        *,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._cache = AnswerCache(cache)
        self._connection = Connection(endpoint, sleep, clock)
        self._lock = threading.Lock()
        self._usage = Usage()

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def stop(self) -> None:
        """Ask nothing more; what waits to be asked raises `endpoint.StoppedError`."""
        self._connection.stop()

    @property
    def model(self) -> str:
        """The name that the endpoint knows the model by."""
        return self._endpoint.model

    @property
    def usage(self) -> Usage:
        """What has been asked so far."""
        return self._usage

    def ask(self, prompt: str, parse: Callable[[Any], Item], temperature: float) -> Item:
        """Ask for a JSON object; `parse` makes of it what is wanted, or raises `ValueError` that says what is wrong with it.

        An answer of no use is asked for again, with what was wrong with it, so that the same request is not answered the same way.

        Raises:
            UnusableAnswerError: where no answer could be used, or the endpoint refuses this one request.
            UserError: where the endpoint fails (`endpoint.Connection.post`).
        """
        request = self._request(prompt, temperature)
        kept = self._cache.get(request)
        if kept is not None:
            try:
                item = _parsed(kept, parse)
            except _UselessError:
                pass  # It was kept by checks that have changed since.
            else:
                self._connection.prove()
                self._count(cached=1)
                return item
        reasons: list[str] = []
        while len(reasons) < TRIES:
            hint = f"\n\nAn earlier answer could not be used: {reasons[-1]}. Mend that." if reasons else ""
            try:
                text = self._text(self._connection.post(self._request(prompt + hint, temperature)))
                item = _parsed(text, parse)
            except _UselessError as error:
                reasons.append(str(error))
            except RefusedError as error:
                raise UnusableAnswerError([*reasons, str(error)]) from error
            else:
                self._cache.put(request, text)
                return item
        raise UnusableAnswerError(reasons)

    def _request(self, prompt: str, temperature: float) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        body = {"model": self._endpoint.model, "messages": messages, "temperature": temperature, **_DEFAULTS, **self._endpoint.parameters}
        return {name: value for name, value in body.items() if value is not None}

    def _text(self, reply: dict[str, Any]) -> str:
        usage = reply.get("usage")
        counts = usage if isinstance(usage, dict) else {}
        self._count(requests=1, tokens_in=_whole(counts.get("prompt_tokens")), tokens_out=_whole(counts.get("completion_tokens")))
        try:
            choice = reply["choices"][0]
            text, end = choice["message"]["content"], choice.get("finish_reason")
        except (LookupError, TypeError, AttributeError) as error:
            raise _UselessError("the reply is no chat completion (it has no choices[0].message.content)") from error
        if end == "length":
            raise _UselessError("it was cut off at the largest number of tokens; be shorter")
        if not isinstance(text, str) or not text.strip():
            raise _UselessError("it holds no text" + (f" ({end})" if isinstance(end, str) else ""))
        return text

    def _count(self, *, requests: int = 0, cached: int = 0, tokens_in: int = 0, tokens_out: int = 0) -> None:
        with self._lock:
            own = self._usage
            self._usage = Usage(own.requests + requests, own.cached + cached, own.tokens_in + tokens_in, own.tokens_out + tokens_out)


class _UselessError(Exception):
    """What is wrong with an answer, as a clause."""


def _parsed(text: str, parse: Callable[[Any], Item]) -> Item:
    try:
        return parse(_json(text))
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}".removeprefix(": ") for one in error.errors()[:5]]
        raise _UselessError("; ".join(faults)) from error
    except (ValueError, RecursionError) as error:
        raise _UselessError(str(error)) from error


def _json(text: str) -> Any:
    """The object in a model's answer, which may think aloud before it and put a fence around it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half of a surrogate pair, which is no character") from error
    # Some servers leave out the tag that opens it.
    text = text.rpartition("</think>")[2]
    first, last = text.find("{"), text.rfind("}")
    if first < 0 or last < first:
        raise ValueError("it is not a whole JSON object")
    try:
        value = json.loads(text[first : last + 1])
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not a whole JSON object ({error.msg} at sign {error.pos})") from error
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half of a surrogate pair, which is no character") from error
    return value


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
