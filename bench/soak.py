"""Checks `braid serve` for leaks: mixed requests for ten minutes, and the server's resources after each round.

    python -m bench.soak [--minutes 10] [--passages 5000] [--store sqlite]

Eight clients search, ask and read over REST, pages and MCP, with tokens of both kinds and with wrong ones; they upload,
break off requests while they send them, and leave while an answer grows. Between rounds, documents are published by
another process's writes. Memory, threads and descriptors are measured when a round has ended. A line is fitted to each
from the second third on; it is a leak if the line rises by more than 5 % of the memory, or by three threads or
descriptors. At the end the server is killed with SIGKILL and started again. Needs the extra `test`.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil

from bench.serving import VOCABULARY, make_postgres_url
from bench.stores import PASSAGES, count_terms, fill, make
from deployments.service import TokenFile
from deployments.settings import Settings
from handlers.models import EMBEDDING_MODEL, make_embedder
from handlers.stores import open_index
from tests.support.served import Served, serve

INDEX, CLIENTS, ROUND_S, TEAMS = "soak", 8, 20.0, ("legal", "sales")
_RISE, _MORE = 0.05, 3


@dataclass(frozen=True)
class Sample:
    """The resources of all processes of the server after a round."""

    minutes: float
    answers: int
    memory_mb: float
    threads: int
    descriptors: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--passages", type=int, default=5000)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="braid-soak-")))
        url = make_postgres_url(stack) if chosen.store == "postgres" else None
        settings = Settings(home=home, index_url=url)
        _publish(settings, 0, chosen.passages // PASSAGES)
        tokens = TokenFile(settings.tokens_file)
        known = [tokens.add("all", tags=None, may_ingest=True), tokens.add("legal", tags={"team": ["legal"]})]
        chat = stack.enter_context(_slow_model())
        environment = {
            "BRAID_EMBEDDING_MODEL": "",
            "BRAID_SERVE_RATE": "0",
            "BRAID_OPENAI_BASE_URL": chat,
            "BRAID_OPENAI_API_KEY": "sk-soak",
            "BRAID_CHAT_MODEL": "slow",
            **({"BRAID_INDEX_URL": url} if url else {}),
        }
        with serve(home, environment=environment) as served:
            samples, ended = _soak(served, settings, known, chosen.minutes)
            leaks = _verdict(samples, ended)
            served.process.kill()
            served.process.wait()
        with serve(home, environment=environment) as again:
            answer = _search(again.url, known[0], random.Random(1))
            print(f"killed and started again: {answer.status_code}, {len(answer.json()['hits'])} passages")
        sys.exit(1 if leaks or answer.status_code != 200 else 0)


def _soak(served: Served, settings: Settings, tokens: list[str], minutes: float) -> tuple[list[Sample], Counter[str]]:
    ended: Counter[str] = Counter()
    samples: list[Sample] = []
    began, number = time.monotonic(), 0
    documents = 10_000
    print(f"{'minute':>6} {'answers':>8} {'memory':>9} {'threads':>8} {'descriptors':>12}")
    while time.monotonic() - began < minutes * 60:
        until = time.monotonic() + ROUND_S
        clients = [
            threading.Thread(
                target=_client, args=(served.url, tokens, random.Random(number * 100 + each), until, ended)
            )
            for each in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        _publish(settings, documents + number % 3 * 20, 20)  # the same again after three rounds
        _search(served.url, tokens[0], random.Random(number))
        time.sleep(2)
        samples.append(_sample(served, (time.monotonic() - began) / 60, ended.total()))
        last = samples[-1]
        print(
            f"{last.minutes:6.1f} {last.answers:8} {last.memory_mb:6.0f} MB {last.threads:8} {last.descriptors:12}",
            flush=True,
        )
        number += 1
    return samples, ended


def _sample(served: Served, minutes: float, answers: int) -> Sample:
    root = psutil.Process(served.process.pid)
    family = [root, *root.children(recursive=True)]
    return Sample(
        minutes,
        answers,
        sum(each.memory_info().rss for each in family) / 1e6,
        sum(each.num_threads() for each in family),
        sum(each.num_fds() for each in family),
    )


def _verdict(samples: list[Sample], ended: Counter[str]) -> bool:
    print(", ".join(f"{name} {count}" for name, count in sorted(ended.items())))
    fitted = samples[len(samples) // 3 :]
    minutes = np.array([each.minutes for each in fitted])
    leaks = False
    for name, values, most in (
        ("memory, MB", [each.memory_mb for each in fitted], _RISE * fitted[0].memory_mb),
        ("threads", [each.threads for each in fitted], _MORE),
        ("descriptors", [each.descriptors for each in fitted], _MORE),
    ):
        slope = float(np.polyfit(minutes, np.array(values, dtype=float), 1)[0]) if len(fitted) > 1 else 0.0
        rise = slope * float(minutes[-1] - minutes[0])
        leaks |= rise > most
        print(f"{name:12} {slope:+.3f} per minute, {rise:+.2f} in all: {'A LEAK' if rise > most else 'no leak'}")
    return leaks


def _client(url: str, tokens: list[str], rng: random.Random, until: float, ended: Counter[str]) -> None:
    kinds: list[Callable[[str, str, random.Random], httpx.Response | None]] = [
        *[_search] * 6,
        *[_page] * 4,
        _documents,
        _mcp,
        _wrong_token,
        _ask,
        _leave_while_it_grows,
        _upload,
        _break_off,
        _do_not_read,
    ]
    while time.monotonic() < until:
        kind = rng.choice(kinds)
        answer = kind(url, rng.choice(tokens), rng)
        ended[f"{kind.__name__.strip('_')} {answer.status_code if answer is not None else 'left'}"] += 1


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}


def _words(rng: random.Random) -> str:
    return " ".join(rng.choice(VOCABULARY[50:2000]) for _ in range(6))


def _search(url: str, token: str, rng: random.Random) -> httpx.Response:
    asked = {"question": _words(rng), "explain": rng.random() < 0.3, "filters": rng.choice([{}, {"team": [TEAMS[0]]}])}
    return httpx.post(f"{url}/api/indexes/{INDEX}/search", json=asked, headers=_headers(token), timeout=120)


def _page(url: str, token: str, rng: random.Random) -> httpx.Response:
    pages = (f"/?index={INDEX}&q={_words(rng)}", f"/ask?index={INDEX}", "/indexes", f"/indexes/{INDEX}", "/docs")
    headers = {**_headers(token), "Accept": "text/html"}
    return httpx.get(f"{url}{rng.choice(pages)}", headers=headers, timeout=120)


def _documents(url: str, token: str, rng: random.Random) -> httpx.Response:
    at = f"{url}/api/indexes/{INDEX}/documents"
    return httpx.get(rng.choice([at, f"{at}/d{rng.randrange(200)}"]), headers=_headers(token), timeout=120)


def _mcp(url: str, token: str, rng: random.Random) -> httpx.Response:
    params = {"name": "search", "arguments": {"question": _words(rng), "index": INDEX}}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return httpx.post(f"{url}/mcp", json=asked, headers=_headers(token), timeout=120)


def _wrong_token(url: str, token: str, rng: random.Random) -> httpx.Response:
    return _search(url, f"{token[:-4]}{rng.randrange(1000, 9999)}", rng)


def _ask(url: str, token: str, rng: random.Random) -> httpx.Response:
    asked = {"question": _words(rng), "stream": rng.random() < 0.5}
    return httpx.post(f"{url}/api/indexes/{INDEX}/ask", json=asked, headers=_headers(token), timeout=120)


def _leave_while_it_grows(url: str, token: str, rng: random.Random) -> None:
    asked, at = {"question": _words(rng)}, f"{url}/api/indexes/{INDEX}/ask"
    with httpx.stream("POST", at, json=asked, headers=_headers(token), timeout=120) as answer:
        for _ in answer.iter_lines():
            break


def _upload(url: str, token: str, rng: random.Random) -> httpx.Response:
    content = rng.randbytes(rng.randrange(1, 300_000))
    at = f"{url}/api/indexes/{INDEX}/uploads/{rng.randrange(20)}.bin"
    return httpx.put(at, content=content, headers=_headers(token), timeout=120)


def _break_off(url: str, token: str, rng: random.Random) -> None:
    """Announce a body, send half of it, and go."""
    body = b'{"question": "' + b"a" * rng.randrange(10, 5000)
    _send(url, token, f"POST /api/indexes/{INDEX}/search", body, length=len(body) * 2)


def _do_not_read(url: str, token: str, rng: random.Random) -> None:
    """Ask, and go before the answer comes."""
    body = json.dumps({"question": _words(rng), "top": 100}).encode()
    _send(url, token, f"POST /api/indexes/{INDEX}/search", body, length=len(body))


def _send(url: str, token: str, request: str, body: bytes, *, length: int) -> None:
    address = urlsplit(url)
    head = (
        f"{request} HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=60) as connection:
        connection.sendall(head.encode() + body)


def _publish(settings: Settings, first: int, documents: int) -> None:
    """Publish documents of random words, tagged with one team or the other."""
    rng = np.random.default_rng(first + 1)
    made = [make(place, rng, VOCABULARY) for place in range(first, first + documents)]
    tagged = [
        (replace(document, tags=(("team", TEAMS[place % len(TEAMS)]),)), chunks)
        for place, (document, chunks) in enumerate(made)
    ]
    sparse = {chunk.id: count_terms(chunk) for _, chunks in tagged for chunk in chunks}
    store = open_index(settings.index_location(INDEX))
    try:
        fill(store, tagged, sparse, rng, model=make_embedder(EMBEDDING_MODEL).name)
    finally:
        store.close()


@contextmanager
def _slow_model() -> Iterator[str]:
    """The address of a language model that takes a second for an answer, in twenty parts."""

    class Model(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            usage = {"prompt_tokens": 10, "completion_tokens": 20}
            self.send_response(200)
            self.end_headers()
            if not body.get("stream"):
                message = {"role": "assistant", "content": "It says so [1]."}
                self.wfile.write(json.dumps({"choices": [{"index": 0, "message": message}], "usage": usage}).encode())
                return
            try:
                for number in range(20):
                    part = {"choices": [{"index": 0, "delta": {"content": f"part {number} [1] "}}]}
                    self.wfile.write(f"data: {json.dumps(part)}\n\n".encode())
                    self.wfile.flush()
                    time.sleep(0.05)
                self.wfile.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
            except OSError:
                return  # the client disconnected

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
