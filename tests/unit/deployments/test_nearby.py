"""Commands ask the server of their home, and only it: with the same settings, alive, and described by a private file."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deployments.nearby import announced, own_credential, search_nearby
from deployments.settings import Settings

ASKED = {"question": "How is the pump cleaned?"}


@dataclass
class Answering:
    """A server that answers with a fixed status and keeps the requests."""

    url: str = ""
    status: int = 200
    seen: list[tuple[str, str, object]] = field(default_factory=list[tuple[str, str, object]])


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(made.status)
            self.end_headers()
            self.wfile.write(b'{"hits": []}')

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield made
    server.shutdown()
    server.server_close()


def test_it_is_asked_with_the_credential_of_its_file(tmp_path: Path, answering: Answering) -> None:
    settings = Settings(home=tmp_path)
    assert search_nearby(settings, "docs", ASKED) is None
    with announced(settings, answering.url):
        assert search_nearby(settings, "my docs", ASKED) == {"hits": []}
        assert answering.seen == [("/api/indexes/my%20docs/search", f"Bearer {own_credential(settings)}", ASKED)]
        assert (tmp_path / "serve.json").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "serve.json").exists()
    assert search_nearby(settings, "docs", ASKED) is None


def test_a_server_that_refuses_or_is_gone_gives_no_answer(tmp_path: Path, answering: Answering) -> None:
    settings = Settings(home=tmp_path)
    with announced(settings, answering.url):
        answering.status = 503
        assert search_nearby(settings, "docs", ASKED) is None
    with announced(settings, "http://127.0.0.1:9"):
        assert search_nearby(settings, "docs", ASKED) is None


def test_other_settings_or_pipelines_are_not_answered_by_it(tmp_path: Path, answering: Answering) -> None:
    pipelines = tmp_path / "pipelines"
    pipelines.mkdir()
    settings = Settings(home=tmp_path, pipelines_dirs=(pipelines,))
    with announced(settings, answering.url):
        assert search_nearby(Settings(home=tmp_path), "docs", ASKED) is None
        assert search_nearby(settings.model_copy(update={"embedding_model": "hashing"}), "docs", ASKED) is None
        assert search_nearby(settings.model_copy(update={"serve_rate": 1}), "docs", ASKED) is not None
        (pipelines / "search2.yaml").write_text("name: search2\n")
        assert search_nearby(settings, "docs", ASKED) is None
    assert len(answering.seen) == 1


@pytest.mark.parametrize("change", ["open to others", "process gone", "no JSON", "a field is missing"])
def test_a_file_that_is_not_as_expected_is_passed_over(tmp_path: Path, answering: Answering, change: str) -> None:
    settings, file = Settings(home=tmp_path), tmp_path / "serve.json"
    with announced(settings, answering.url):
        read = json.loads(file.read_text())
        match change:
            case "open to others":
                file.chmod(0o644)
            case "process gone":
                file.write_text(json.dumps({**read, "process": {**read["process"], "started": 1.0}}))
            case "no JSON":
                file.write_text("{")
            case _:
                file.write_text(json.dumps({"url": answering.url}))
        assert search_nearby(settings, "docs", ASKED) is None
    assert not answering.seen
