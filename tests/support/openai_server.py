"""A server that speaks OpenAI's API for tests, on a free local port: chat, embeddings, speech, images, and failures.

Its answers are the same for the same request. Received requests are in `requests`; `reply` queues answers of the chat,
`fail` makes the next requests fail.
"""

import base64
import hashlib
import io
import json
import math
import struct
import threading
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

DIMENSIONS = 64
SAMPLE_RATE = 16_000
Said: TypeAlias = str | int | Mapping[str, Any]
Answer = str | Mapping[str, Any] | Callable[[Mapping[str, Any]], str | Mapping[str, Any]]


@dataclass(frozen=True)
class Request:
    """One request as it came in; `path` is below /v1."""

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass
class _Failure:
    status: int
    times: int
    path: str | None
    retry_after: str | None
    message: str


@dataclass
class OpenAIServer:
    """A running server; `base_url` and `api_key` are what a client needs."""

    api_key: str = "sk-test-key-of-braid"
    base_url: str = ""
    requests: list[Request] = field(default_factory=list[Request])
    script: Callable[[str], Said] | None = None
    """If set, it is called with the last message of every chat and returns a text (the answer), a number (the status)
    or a mapping (the whole body).
    """
    _answers: list[Answer] = field(default_factory=list[Answer])
    _failures: list[_Failure] = field(default_factory=list[_Failure])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, *answers: Answer) -> None:
        """Queue answers of the chat: a text, a mapping (sent as JSON), or a function of the request's body."""
        with self._lock:
            self._answers.extend(answers)

    def fail(
        self,
        status: int,
        *,
        times: int = 1,
        path: str | None = None,
        retry_after: str | None = None,
        message: str = "the server is busy",
    ) -> None:
        """Answer the next requests (to `path`, if given) with an error."""
        with self._lock:
            self._failures.append(_Failure(status, times, path, retry_after, message))

    def reset(self) -> None:
        """Forget requests, the script, queued answers and failures."""
        with self._lock:
            self.script = None
            self.requests.clear()
            self._answers.clear()
            self._failures.clear()

    def asked(self, path: str) -> list[Mapping[str, Any]]:
        """The bodies of the requests to a path, in order."""
        with self._lock:
            return [request.body for request in self.requests if request.path == path]

    @property
    def prompts(self) -> list[str]:
        """The last message of every chat, in order."""
        return [_last_text(body) for body in self.asked("/chat/completions")]

    def note(self, request: Request) -> _Failure | None:
        with self._lock:
            self.requests.append(request)
            for failure in self._failures:
                if failure.times > 0 and failure.path in (None, request.path):
                    failure.times -= 1
                    return failure
            return None

    def answer(self, body: Mapping[str, Any]) -> str:
        """The text of the chat's answer: the next queued one, else one that the request determines."""
        with self._lock:
            queued = self._answers.pop(0) if self._answers else None
        if callable(queued):
            queued = queued(body)
        if isinstance(queued, str):
            return queued
        if queued is not None:
            return json.dumps(queued)
        form = body.get("response_format") or {}
        if form.get("type") == "json_schema":
            return json.dumps(example_of(form["json_schema"]["schema"]))
        if form.get("type") == "json_object":
            return "{}"
        return f"Answer to: {_last_text(body)}"


def example_of(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """The simplest value of a JSON Schema."""
    root = root if root is not None else schema
    if "$ref" in schema:
        found: Any = root
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            found = found[part]
        return example_of(found, root)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example_of(schema[key][0], root)
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: example_of(inner, root) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [example_of(schema.get("items", {}), root)] * max(1, schema.get("minItems", 1))
        case "integer":
            return int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        case "number":
            return float(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "text".ljust(int(schema.get("minLength", 4)), "x")


def speech(text: str, voice: str, speed: float = 1.0) -> bytes:
    """A WAV with one tone per word, in a pitch that depends on the voice."""
    pitch = 120 + int(hashlib.sha256(voice.encode()).hexdigest(), 16) % 240
    frames = bytearray()
    for number, word in enumerate(text.split() or [""]):
        tone = pitch * (1 + 0.1 * (number % 5))
        for i in range(int(SAMPLE_RATE * min(0.04 * (len(word) + 2), 0.4) / speed)):
            frames += struct.pack("<h", int(9000 * math.sin(2 * math.pi * tone * i / SAMPLE_RATE)))
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(SAMPLE_RATE)
        output.writeframes(bytes(frames))
    return file.getvalue()


def image(prompt: str, model: str, size: str) -> bytes:
    """A PNG of that size in stripes, whose colours the prompt and the model determine."""
    from PIL import Image, ImageDraw

    width, height = (int(part) for part in size.split("x"))
    digest = hashlib.sha256(f"{model}\0{prompt}".encode()).digest()
    picture = Image.new("RGB", (width, height), tuple(digest[:3]))
    draw = ImageDraw.Draw(picture)
    for stripe in range(8):
        left = width * stripe // 8
        draw.rectangle((left, 0, left + width // 16, height), fill=tuple(digest[stripe * 3 + 3 : stripe * 3 + 6]))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector of the words of a text; texts that share words are near each other."""
    values = [0.0] * dimensions
    for word in text.lower().split() or ["\0"]:
        digest = hashlib.sha256(word.encode()).digest()
        values[int.from_bytes(digest[:4], "little") % dimensions] += 1.0 if digest[4] & 1 else -1.0
    norm = math.sqrt(sum(value * value for value in values))
    if norm == 0.0:
        values[0], norm = 1.0, 1.0
    return [value / norm for value in values]


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    openai: OpenAIServer

    def do_GET(self) -> None:
        self._handle({})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            body = json.loads(data or b"{}")
        except ValueError:
            self._error(400, "the body is not JSON")
            return
        self._handle(body)

    def _handle(self, body: Mapping[str, Any]) -> None:
        path = self.path.split("?")[0].removeprefix("/v1")
        failure = self.openai.note(Request(path, body, dict(self.headers)))
        if failure is not None:
            headers = {"retry-after": failure.retry_after} if failure.retry_after is not None else {}
            self._error(failure.status, failure.message, headers)
        elif self.headers.get("authorization") != f"Bearer {self.openai.api_key}":
            self._error(
                401, f"Incorrect API key provided: {self.headers.get('authorization', '').removeprefix('Bearer ')}"
            )
        else:
            try:
                self._answer(path, body)
            except _Refused as error:
                self._error(error.status, str(error))

    def _answer(self, path: str, body: Mapping[str, Any]) -> None:
        match path:
            case "/models":
                self._json(
                    {
                        "object": "list",
                        "data": [{"id": "test-model", "object": "model", "created": 0, "owned_by": "tests"}],
                    }
                )
            case "/chat/completions":
                self._chat(body)
            case "/embeddings":
                self._embeddings(body)
            case "/audio/speech":
                if body.get("response_format", "mp3") != "wav":
                    raise _Refused(400, "this server speaks response_format wav only")
                self._send(
                    200, speech(str(body["input"]), str(body["voice"]), float(body.get("speed") or 1.0)), "audio/wav"
                )
            case "/images/generations":
                size = body.get("size") or "256x256"
                size = "256x256" if size == "auto" else size
                pictures = [
                    image(f"{body['prompt']}{n or ''}", str(body.get("model")), size) for n in range(body.get("n") or 1)
                ]
                self._json({"created": 0, "data": [{"b64_json": base64.b64encode(one).decode()} for one in pictures]})
            case _:
                raise _Refused(404, f"no such path: {path}")

    def _chat(self, body: Mapping[str, Any]) -> None:
        if not body.get("messages"):
            raise _Refused(400, "messages is empty")
        said = self.openai.script(_last_text(body)) if self.openai.script else self.openai.answer(body)
        if not isinstance(said, str):
            if isinstance(said, int):
                self._error(said, "as scripted", {"retry-after": "3"})
            else:
                self._json(said)
            return
        text = said
        usage = {"prompt_tokens": _words(body["messages"]), "completion_tokens": len(text.split())}
        usage["total_tokens"] = sum(usage.values())
        whole = {"id": "chatcmpl-1", "created": 0, "model": body.get("model", "")}
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        reason = "length" if most is not None and usage["completion_tokens"] > most else "stop"
        if not body.get("stream"):
            message = {"role": "assistant", "content": text, "refusal": None}
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            self._json({**whole, "object": "chat.completion", "choices": [choice], "usage": usage})
            return
        words = [word + " " for word in text.split(" ")[:-1]] + text.split(" ")[-1:]
        deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
        deltas += [({"content": word}, None) for word in words] + [({}, reason)]
        events: list[dict[str, Any]] = [
            {
                **whole,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": delta, "finish_reason": ended}],
            }
            for delta, ended in deltas
        ]
        if (body.get("stream_options") or {}).get("include_usage"):
            events.append({**whole, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        lines = [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]
        self._send(200, "".join(lines).encode(), "text/event-stream")

    def _embeddings(self, body: Mapping[str, Any]) -> None:
        texts = [body["input"]] if isinstance(body["input"], str) else list(body["input"])
        dimensions = body.get("dimensions") or DIMENSIONS
        rows: list[dict[str, Any]] = []
        for index, text in enumerate(texts):
            values: Any = vector(text, dimensions)
            if body.get("encoding_format") == "base64":
                values = base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode()
            rows.append({"object": "embedding", "index": index, "embedding": values})
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self._json({"object": "list", "data": rows, "model": body.get("model", ""), "usage": usage})

    def _json(self, body: Any) -> None:
        self._send(200, json.dumps(body).encode(), "application/json")

    def _error(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps({"error": {"message": message, "type": "error", "code": None}}).encode()
        self._send(status, body, "application/json", headers)

    def _send(self, status: int, data: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing; the requests are in `requests`."""


def _last_text(body: Mapping[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] if part["type"] == "text" else _described(part) for part in content)


def _described(part: Mapping[str, Any]) -> str:
    """A description of an image that was sent as a data URL."""
    from PIL import Image

    url = str((part.get("image_url") or {}).get("url", ""))
    if not url.startswith("data:"):
        return f"[{part['type']}]"
    with Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))) as picture:
        return f"[{picture.format} image of {picture.width} by {picture.height} pixels]"


def _words(messages: list[Mapping[str, Any]]) -> int:
    return sum(len(_last_text({"messages": [message]}).split()) for message in messages)


@contextmanager
def run_openai_server() -> Iterator[OpenAIServer]:
    """Start a server in threads of this process; it ends with the block."""
    server = OpenAIServer()
    handler = type("Handler", (_Handler,), {"openai": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    server.base_url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.05}, name="openai-server", daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
