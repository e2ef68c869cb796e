"""A real HTTP server that speaks as a chat endpoint does, after it has misbehaved as the test asks."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Misbehaving:
    """`answer` makes the text of a good answer from the prompt. The first requests meet `faults` instead, one each: "stall", "cut", "text", "list",
    "hang up", "length", "silent", "bare", (status, headers, body), or {"content": text}."""

    answer: Callable[[str], str] = lambda prompt: "{}"
    faults: list[Any] = field(default_factory=list)
    url: str = ""
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.bodies]


def completion(content: Any, end: str = "stop") -> Body:
    return {
        "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": end}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5},
    }


@contextmanager
def serving(server: Misbehaving) -> Iterator[Misbehaving]:
    """Serve on a free port while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
                fault = server.faults.pop(0) if server.faults else None
            _respond(self, server, fault, body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        thread.join()
        http.server_close()


def _respond(handler: BaseHTTPRequestHandler, server: Misbehaving, fault: Any, body: Body) -> None:
    good = server.answer(body["messages"][0]["content"]) if fault is None or fault in ("cut", "length") else ""
    if fault == "hang up":
        handler.close_connection = True
    elif fault == "stall":
        server.released.wait(20)
        handler.close_connection = True
    elif fault == "cut":
        data = json.dumps(completion(good)).encode()
        _send(handler, 200, {}, data[: len(data) // 2], len(data))
    elif fault == "text":
        _send(handler, 200, {}, b"<html>hello</html>")
    elif fault == "list":
        _send(handler, 200, {}, b"[1]")
    elif fault == "bare":
        _send(handler, 200, {}, b'{"choices": []}')
    elif isinstance(fault, tuple):
        _send(handler, fault[0], fault[1], fault[2].encode())
    elif fault == "length":
        _send(handler, 200, {}, json.dumps(completion(good, "length")).encode())
    elif fault == "silent":
        _send(handler, 200, {}, json.dumps(completion(None)).encode())
    elif isinstance(fault, dict):
        _send(handler, 200, {}, json.dumps(completion(fault["content"])).encode())
    else:
        _send(handler, 200, {}, json.dumps(completion(good)).encode())


def _send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], data: bytes, length: int | None = None) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)
    handler.close_connection = length is not None
