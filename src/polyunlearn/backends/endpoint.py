"""One request to an OpenAI-compatible endpoint, sent again while that may help.

httpx2 sends (huggingface_hub, which transformers needs, brings it along) and tenacity repeats (30 kB of Python). The `openai` package repeats
too, but adds a compiled JSON parser and some megabytes of types for the one call that we make, and takes a cut-off body for a defect.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from polyunlearn.errors import UserError

if TYPE_CHECKING:
    import httpx2
    import tenacity

LONGEST_PAUSE = 60.0
"""Seconds that our own pauses grow to."""

LONGEST_ASKED = 600.0
"""Seconds that an endpoint may ask us to wait; where it asks for more, the user is told instead."""

_PASSING = {408, 425, 429}

_OF_ONE_REQUEST = {400, 413, 422}
"""Statuses that blame the request: too long, or against a filter, where others of its form were answered; else its parameters."""

IN_A_ROW = 3
"""So many refusals with no answer between them blame no single request: credit that is used up, or another server at the address."""


@dataclass(frozen=True)
class Endpoint:
    """Where a chat model answers: `base_url` up to /v1, its name, and the environment variable that holds the key (none is sent where it is unset).

    `timeout` and `backoff` are seconds: how long nothing at all may come of an answer, and a pause: after the k-th failure it is `backoff`·2^(k−1), or longer where the endpoint says so
    (Retry-After). `attempts` counts the first. `per_minute` bounds requests. `parameters` are added to every request; None takes one out.

    Raises:
        UserError: for an address that is none, or numbers that make no sense.
    """

    base_url: str
    model: str
    key_variable: str = "POLYUNLEARN_API_KEY"
    timeout: float = 120.0
    attempts: int = 6
    backoff: float = 1.0
    per_minute: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if _names_a_password(self.base_url):
            raise UserError(
                f"the endpoint's address holds a name or password before @, which would be shown; put the key into {self.key_variable} instead"
            )
        if not _is_address(self.base_url):
            raise UserError(f"endpoint {self.base_url!r}: give an address such as http://localhost:8000/v1")
        if not self.model.strip():
            raise UserError("no model is named; give the name that the endpoint knows it by")
        if self.attempts < 1 or self.timeout <= 0 or self.backoff < 0:
            raise UserError(
                "an endpoint needs at least one attempt, a timeout above 0 and a pause of 0 or more "
                f"(got {self.attempts} attempts, a timeout of {self.timeout:g} s, a pause of {self.backoff:g} s)"
            )
        if self.per_minute is not None and self.per_minute <= 0:
            raise UserError(f"{self.per_minute} requests a minute: give more than 0, or leave the limit out")

    @property
    def url(self) -> str:
        """The address that chat requests go to."""
        return self.base_url.rstrip("/") + "/chat/completions"


def _names_a_password(text: str) -> bool:
    try:
        return "@" in urlsplit(text).netloc
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        # A port that is none is only seen when it is asked for.
        return text.isprintable() and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def read_parameters(pairs: Sequence[str]) -> dict[str, Any]:
    """Parameters written as NAME=VALUE; a value is JSON, or else text. Raises `UserError` for one without a name, or a number that JSON has not."""

    def refuse(number: str) -> None:
        raise UserError(f"parameter {pair!r}: {number} is no number that can be sent")

    found: dict[str, Any] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not (name and mark):
            raise UserError(f"parameter {pair!r}: write NAME=VALUE, such as top_p=0.9")
        try:
            found[name] = json.loads(value, parse_constant=refuse)
        except ValueError:
            found[name] = value
    return found


class RefusedError(Exception):
    """The endpoint will not answer this one request, whatever is done; others may go on."""


class StoppedError(Exception):
    """The connection was stopped before this request was sent."""


class _PassingError(Exception):
    """It may work the next time; `pause` is how many seconds the endpoint asks for."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class Connection:
    """Sends requests to one endpoint from any number of threads, until it is stopped; `sleep` and `clock` are those of `time`."""

    def __init__(
        self, endpoint: Endpoint, sleep: Callable[[float], object] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            import httpx2
            import tenacity
        except ImportError as error:
            raise UserError(f"the package {error.name} is missing; type in polyunlearn's folder: pip install -e '.[chat]'") from error
        self._endpoint = endpoint
        self._stopped = threading.Event()
        # Waiting for the event rather than sleeping, so that whoever stops need not wait for pauses of minutes.
        self._wait, self._clock = sleep or self._stopped.wait, clock
        self._lock = threading.Lock()
        self._next = clock()
        self._proven = False
        self._refused = 0
        self._faults = (httpx2.TimeoutException, httpx2.RequestError)
        self._http = httpx2.Client(timeout=endpoint.timeout, headers=_headers(endpoint))
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(endpoint.attempts),
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(_PassingError),
            sleep=self._sleep,
            reraise=True,
        )

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def _sleep(self, seconds: float) -> None:
        self._wait(seconds)

    def stop(self) -> None:
        """Send nothing more: requests on their way end, and those that wait, in whatever thread, raise `StoppedError`."""
        self._stopped.set()

    def prove(self) -> None:
        """Note that requests of this form are answered, so that one that is refused is refused for itself."""
        self._proven = True

    def post(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return the JSON object that comes back.

        Raises:
            RefusedError: where this request alone is refused.
            StoppedError: where the connection was stopped.
            UserError: where the endpoint cannot be reached, refuses the key, or keeps failing.
        """
        try:
            return self._retrying.copy()(self._once, body)
        except _PassingError as error:
            raise UserError(
                f"{self._endpoint.url}: {error} ({self._endpoint.attempts} times); the answers so far are kept, so run the same command again later"
            ) from error

    def _once(self, body: Mapping[str, Any]) -> dict[str, Any]:
        timed_out, failed = self._faults
        self._keep_pace()
        if self._stopped.is_set():
            raise StoppedError
        try:
            response = self._http.post(self._endpoint.url, json=body)
        except timed_out as error:
            raise _PassingError(f"no answer within {self._endpoint.timeout:g} s") from error
        except failed as error:
            raise _PassingError(f"could not be reached or broke off ({type(error).__name__}: {error})") from error
        return self._read(response)

    def _read(self, response: "httpx2.Response") -> dict[str, Any]:
        status = response.status_code
        if status in _PASSING or status >= 500:
            pause = _asked_pause(response.headers.get("Retry-After", ""))
            if pause > LONGEST_ASKED:
                raise UserError(f"{self._endpoint.url}: asks us to wait {pause:.0f} s; run the same command again after that")
            raise _PassingError(f"answered with status {status}{_reason(response)}", pause)
        if status == 400 and "content_filter" in response.text:
            raise RefusedError(f"the endpoint's content filter refused the request{_reason(response)}")
        if status in _OF_ONE_REQUEST and self._proven:
            with self._lock:
                self._refused += 1
            if self._refused < IN_A_ROW:
                raise RefusedError(f"the endpoint refused the request with status {status}{_reason(response)}")
        if status in (401, 403):
            name = self._endpoint.key_variable
            state = "is not accepted" if os.environ.get(name) else "is not set"
            raise UserError(f"{self._endpoint.url}: the key in {name} {state} (status {status}); type: export {name}=...")
        if status != 200:
            raise UserError(
                f"{self._endpoint.url}: answered with status {status}{_reason(response)}; check the address, model and parameters"
            )
        try:
            value = response.json()
        except (ValueError, RecursionError) as error:
            raise _PassingError("the answer is cut off or no JSON; is this the address of a chat endpoint, up to /v1?") from error
        if not isinstance(value, dict):
            raise _PassingError("the answer is no JSON object; is this the address of a chat endpoint, up to /v1?")
        if value.get("error") and not value.get("choices"):
            raise _PassingError(f"answered with an error{_reason(response)}")
        self.prove()
        self._refused = 0
        return value

    def _pause(self, state: "tenacity.RetryCallState") -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.pause if isinstance(error, _PassingError) else 0.0
        return max(asked, min(LONGEST_PAUSE, self._endpoint.backoff * 2.0 ** (state.attempt_number - 1)))

    def _keep_pace(self) -> None:
        """Wait for this request's turn: turns lie evenly over a minute, whichever thread takes them."""
        if self._endpoint.per_minute is None:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + 60 / self._endpoint.per_minute
        if turn > now:
            self._sleep(turn - now)


def _headers(endpoint: Endpoint) -> dict[str, str]:
    key = os.environ.get(endpoint.key_variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"the key in {endpoint.key_variable} holds signs that no key has; copy it again")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _asked_pause(header: str) -> float:
    """Seconds that a Retry-After header asks for: it gives them, or a date (RFC 9110 §10.2.3)."""
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _reason(response: "httpx2.Response") -> str:
    """What the endpoint says of its refusal, in one short line."""
    try:
        value = response.json()["error"]
        text = value["message"] if isinstance(value, dict) else value
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f" ({' '.join(str(text).split())[:200]})"
