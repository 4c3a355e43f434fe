"""Errors of a Prefect server become one line with the cure, and requests to a busy server are repeated."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from deployments.server import connecting
from deployments.server.connecting import connect, server_trouble
from deployments.settings import Settings
from flows.errors import OrchestrationError


@contextmanager
def server(answers: list[int], *, asks_for: str | None = None) -> Iterator[str]:
    """The URL of a server with these answers, then 200; with `asks_for`, only for requests with that header."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = answers.pop(0) if answers else 200
            if asks_for is not None and "health" not in self.path and self.headers.get("Authorization") != asks_for:
                code = 401
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{made.server_port}/api"
        finally:
            made.shutdown()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_PAUSES_S", (0.0, 0.0, 0.0))


def connected(url: str, home: Path, login: str | None = None) -> str:
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: login}):
        return connect(Settings(home=home))


def test_a_busy_server_is_asked_again(tmp_path: Path) -> None:
    with server([503, 502, 429, 200, 503]) as url:
        assert connected(url, tmp_path) == url


def test_a_server_that_stays_busy_is_reported_in_one_line(tmp_path: Path) -> None:
    with server([503] * 100) as url, pytest.raises(OrchestrationError, match="answers 503; see its log"):
        connected(url, tmp_path)


def test_a_server_that_asks_for_a_login_says_how_to_give_it(tmp_path: Path) -> None:
    with (
        server([], asks_for="Basic YWRhOnNlY3JldA==") as url,
        pytest.raises(OrchestrationError, match=r"asks for a login \(401\): set PREFECT_API_AUTH_STRING"),
    ):
        connected(url, tmp_path)
    with server([], asks_for="Basic YWRhOnNlY3JldA==") as url:
        assert connected(url, tmp_path, "ada:secret") == url


def test_a_refused_login_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "ada:wrong")
    with (
        server([], asks_for="Basic YWRhOnNlY3JldA==") as url,
        pytest.raises(OrchestrationError, match="refuses PREFECT_API_AUTH_STRING"),
    ):
        connected(url, tmp_path, "ada:wrong")


def test_errors_of_clients_become_one_line() -> None:
    request = httpx.Request("POST", "http://host/api/flow_runs")
    busy = httpx.HTTPStatusError("x", request=request, response=httpx.Response(503, text="try\nlater", request=request))
    assert server_trouble(busy) == "http://host/api/flow_runs answers 503: try later; it is busy, try again"
    gone = httpx.ConnectError("refused", request=request)
    assert server_trouble(gone) is not None
    assert "http://host/api/flow_runs does not answer (refused)" in str(server_trouble(gone))
    assert server_trouble(ValueError("ours")) is None
