"""A real HTTP server on loopback that follows the OpenAI protocol and can be told to fail.

    with OpenAIServer(answer=lambda body: "好的") as server:
        server.script += [Fault(status=429, headers={"Retry-After": "1"})]
        TeacherSettings(base_url=server.base_url, model="teacher")

Faults of `script` are used up one by one, in the order in which requests come; then every request gets its answer.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pediatricsgpt.endpoint import tokens_of

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """One request that goes wrong.

    Args:
        status: answer with this status (and `headers`, `text` as the error's message).
        text: with status 200, say this instead of the right answer (broken JSON, a wrong schema, another dose).
        wait: answer only after so many seconds.
        cut: cut the connection: `before` the headers, or `within` the body.
        endless: send a body that never ends.
        finish_reason: why the model stopped.
        usage: whether the answer says how many tokens it took.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    wait: float = 0.0
    cut: str = ""
    endless: bool = False
    finish_reason: str = "stop"
    usage: bool = True


class OpenAIServer:
    """Serves `/v1/chat/completions` and `/v1/models` on a free port; counts what it is asked."""

    def __init__(
        self,
        answer: Callable[[Body], str] = lambda body: "好的。",
        structured: bool = True,
        key: str | None = None,
        bound: str = "max_tokens",
    ) -> None:
        self.answer = answer
        self.structured = structured
        self.key = key
        self.bound = bound
        self.script: deque[Fault] = deque()
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.answered: Counter[str] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._guard = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> OpenAIServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def enter(self, body: dict[str, Any]) -> Fault:
        """Note a request, and take the next fault."""
        with self._guard:
            self.requests.append(body)
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            return self.script.popleft() if self.script else Fault()

    def leave(self, body: Mapping[str, Any], answered: bool) -> None:
        with self._guard:
            self._at_once -= 1
            if answered:
                self.answered[body["messages"][-1]["content"]] += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the tests."""


def _handler(owner: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # header and body go out apart; together they would wait 40 ms for each other

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": [{"id": "teacher", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fault = owner.enter(body)
            answered = False
            try:
                answered = self._respond(body, fault)
            finally:
                owner.leave(body, answered)

        def _respond(self, body: dict[str, Any], fault: Fault) -> bool:
            if self.path != "/v1/chat/completions":
                return self._fail(404, f"no route {self.path}")
            if owner.key and self.headers.get("Authorization") != f"Bearer {owner.key}":
                return self._fail(401, "Incorrect API key provided")
            if fault.wait:
                time.sleep(fault.wait)
            if fault.cut:
                return self._cut(fault.cut)
            if fault.endless:
                return self._endless()
            if fault.status != 200:
                return self._fail(fault.status, fault.text or "out of order", fault.headers)
            if owner.bound not in body:
                return self._fail(400, f"Unsupported parameter. Use '{owner.bound}' instead.")
            if body.get("response_format") and not owner.structured:
                return self._fail(400, "response_format is not supported")
            text = owner.answer(body) if fault.text is None else fault.text
            self._send(200, _completion(body, text, fault))
            return True

        def _fail(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> bool:
            self._send(status, {"error": {"message": message, "type": "server_error"}}, headers)
            return False

        def _cut(self, where: str) -> bool:
            if where == "within":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"choices": [')
                self.wfile.flush()
            # A reset instead of an orderly end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return False

        def _endless(self) -> bool:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            part = "说".encode() * 4096
            self.wfile.write(b"10\r\n" + b'{"choices": [{  ' + b"\r\n")
            while True:
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")

        def _send(self, status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
            data = json.dumps(content, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    return Handler


def _completion(body: Mapping[str, Any], text: str, fault: Fault) -> dict[str, Any]:
    given, taken = sum(tokens_of(turn["content"]) for turn in body["messages"]), tokens_of(text)
    message = {"role": "assistant", "content": text}
    completion: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": fault.finish_reason}],
    }
    if fault.usage:
        completion["usage"] = {"prompt_tokens": given, "completion_tokens": taken, "total_tokens": given + taken}
    return completion
