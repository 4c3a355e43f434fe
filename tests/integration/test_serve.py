"""`braid serve` as people start it: REST as curl sees it, several workers, tokens, PostgreSQL, and shutdown."""

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from deployments import connect
from deployments.cli import app
from deployments.remote import RefusedCall
from deployments.service import TokenFile
from deployments.settings import Settings
from flows.errors import TransientError
from tests.support.openai_server import OpenAIServer
from tests.support.paths import ROOT
from tests.support.served import Served, braid_environment, serve
from tests.support.tagged_index import Tagged, make_index

pytestmark = pytest.mark.slow
DOCUMENTS = [Tagged(1, {"team": ["legal"]}), Tagged(2, {"team": ["sales"]}), Tagged(3, {}, failed_again=True)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    make_index(Settings(home=folder), "docs", DOCUMENTS, folder / "files")
    (folder / "sources.yaml").write_text(f"handbook: {{place: {folder}/handbook, index: docs, fresh_within: 1h}}\n")
    return folder


@pytest.fixture(scope="module")
def served(home: Path, _openai_server: OpenAIServer) -> Iterator[Served]:
    model = {
        "BRAID_OPENAI_BASE_URL": _openai_server.base_url,
        "BRAID_OPENAI_API_KEY": _openai_server.api_key,
        "BRAID_CHAT_MODEL": "scripted",
        "BRAID_SOURCES": str(home / "sources.yaml"),
    }
    with serve(home, environment=model) as running:
        yield running


def test_search_finds_explains_and_filters(served: Served) -> None:
    at = f"{served.url}/api/indexes/docs/search"
    answer = httpx.post(at, json={"question": "How is the pump cleaned?", "top": 3, "explain": True}).json()
    assert answer["status"] == "succeeded"
    assert "pump" in answer["hits"][0]["text"]
    assert answer["hits"][0]["highlights"]
    assert len(answer["explanation"]["ranks"]) == len(answer["hits"])
    only = httpx.post(at, json={"question": "How is the pump cleaned?", "filters": {"team": ["sales"]}}).json()
    assert {hit["document"] for hit in only["hits"]} == {DOCUMENTS[1].name}


def test_the_command_asks_it_and_prints_the_same(
    home: Path, served: Served, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"OPENAI_BASE_URL": openai_server.base_url, "OPENAI_API_KEY": openai_server.api_key}
    given = {"HOME": str(home), "EMBEDDING_MODEL": "hashing", "CHAT_MODEL": "scripted", **model}
    for name, value in given.items():
        monkeypatch.setenv(f"BRAID_{name}", value)

    def braid(*arguments: str) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["search", *arguments, "--index", "docs"], prog_name="braid")
        return ended.exit_code, re.sub(r'"seconds": [-\d.e]+', "", ended.stdout)

    for arguments in (
        ("How is the pump cleaned?", "--explain"),
        ("pump", "--json"),
        ("pump", "-t", "team=legal", "--json"),
    ):
        asked = served.log().count("/search 200")
        there, here = braid(*arguments), braid(*arguments, "--local")
        assert served.log().count("/search 200") == asked + 1
        assert there == here
        assert there[0] == 0
    assert CliRunner().invoke(app, ["search", "pump", "--index", "dcos"], prog_name="braid").exit_code == 2


def test_documents_are_listed_shown_and_fetched(served: Served) -> None:
    at = f"{served.url}/api/indexes/docs"
    assert httpx.get(at).json()["documents"] == 3
    page = httpx.get(f"{at}/documents", params={"limit": 1, "offset": 1}).json()
    assert (len(page["documents"]), page["counts"]["failed"]) == (1, 2)
    failed = httpx.get(f"{at}/documents", params={"status": "failed"}).json()["documents"]
    assert {each["reason"].split()[-1] for each in failed} == {"damaged"}
    document = DOCUMENTS[0]
    shown = httpx.get(f"{at}/documents/{document.id}").json()
    assert shown["text"] == document.text.replace(". The", ".\n\nThe", 1)
    assert [each["kind"] for each in shown["artifacts"]] == ["table"]
    assert shown["passages"][1]["start"] > 0
    assert httpx.get(f"{at}/documents/{document.name}").json()["id"] == document.id
    assert httpx.get(f"{at}/documents/{document.id}/original").text == document.text


def test_an_answer_grows_and_ends_with_its_citations(served: Served, openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: "Every week [1], with water [9]."
    with httpx.stream("POST", f"{served.url}/api/indexes/docs/ask", json={"question": "How is it cleaned?"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = read_events(answer.read().decode())
    assert [name for name, _ in events][-1] == "answer"
    assert "".join(data["text"] for name, data in events if name == "text") == "Every week [1], with water [9]."
    assert len(events) > 3, "in parts, not at once"
    whole = events[-1][1]
    assert whole["answer"] == "Every week [1], with water."
    assert [(each["number"], bool(each["text"])) for each in whole["citations"]] == [(1, True)]
    assert whole["unknown_citations"] == [9]
    openai_server.script = lambda _: 401
    with httpx.stream("POST", f"{served.url}/api/indexes/docs/ask", json={"question": "How?"}) as answer:
        [(name, problem)] = read_events(answer.read().decode())
    assert (name, problem["status"]) == ("problem", 502)
    assert openai_server.api_key not in json.dumps(problem)


def test_it_describes_itself(served: Served) -> None:
    described = httpx.get(f"{served.url}/openapi.json").json()
    assert "/api/indexes/{index}/search" in described["paths"]
    answer = described["paths"]["/api/indexes/{index}/search"]["post"]["responses"]
    assert answer["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/SearchAnswer")
    assert "application/problem+json" in answer["4XX"]["content"]


def test_it_counts_its_requests_and_the_age_of_sources(served: Served) -> None:
    httpx.get(f"{served.url}/api/indexes/docs")
    text = httpx.get(f"{served.url}/metrics").text
    assert 'braid_requests_total{method="GET",route="/api/indexes/{index}",status="200"}' in text
    assert "braid_request_seconds_bucket" in text
    assert 'braid_source_stale{index="docs",source="handbook"} 1.0' in text, "it was never ingested"
    assert 'braid_source_fresh_within_seconds{index="docs",source="handbook"} 3600.0' in text


def test_several_processes_answer_together(home: Path) -> None:
    with serve(home, "--workers", "2") as running:
        at = f"{running.url}/api/indexes/docs/search"
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: httpx.post(at, json={"question": "pump"}, timeout=60), range(40)))
        assert {answer.status_code for answer in answers} == {200}
        text = httpx.get(f"{running.url}/metrics").text
        line = next(each for each in text.splitlines() if each.startswith("braid_requests_total{") and "search" in each)
        assert float(line.split()[-1]) == 40, "the metrics are those of all processes"


def test_others_are_only_let_in_with_tokens(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deployments", "serve", "--host", "0.0.0.0", "--port", "0"]
    refused = subprocess.run(command, env=braid_environment(tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "make one with `braid tokens add NAME`" in " ".join(refused.stderr.split())
    make_index(Settings(home=tmp_path), "docs", DOCUMENTS, tmp_path / "files")
    secret = TokenFile(tmp_path / "tokens.json").add("ann", tags={"team": ["legal"]})
    with serve(tmp_path, "--host", "0.0.0.0") as running:
        at = f"{running.url}/api/indexes/docs"
        assert httpx.get(at).status_code == 401
        assert httpx.get(at, headers={"Authorization": f"Bearer {secret}"}).json()["documents"] == 1
        TokenFile(tmp_path / "tokens.json").revoke("ann")
        assert httpx.get(at, headers={"Authorization": f"Bearer {secret}"}).status_code == 401
        assert secret not in running.log()


def test_nothing_piles_up_however_long_it_serves(home: Path, openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: "Every week [1]. " * 200
    model = {
        "BRAID_OPENAI_BASE_URL": openai_server.base_url,
        "BRAID_OPENAI_API_KEY": openai_server.api_key,
        "BRAID_CHAT_MODEL": "scripted",
        "BRAID_SERVE_RATE": "0",
    }
    with serve(home, environment=model) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        process = psutil.Process(running.process.pid)

        def use(rounds: int) -> tuple[int, int]:
            for _ in range(rounds):
                assert client.post("/api/indexes/docs/search", json={"question": "pump"}).status_code == 200
                assert client.get("/?q=pump&index=docs").status_code == 200
                assert client.get(f"/api/indexes/docs/documents/{DOCUMENTS[0].id}/original").status_code == 200
                with client.stream("POST", "/api/indexes/docs/ask", json={"question": "pump"}) as answer:
                    next(answer.iter_lines())  # and leave before the end
            return process.num_fds(), process.num_threads()

        before, after = use(20), use(60)
        assert after[0] <= before[0] + 5, f"file descriptors: {before[0]}, then {after[0]}"
        assert after[1] <= before[1] + 5, f"threads: {before[1]}, then {after[1]}"
        running.process.kill()
        running.process.wait()
    with serve(home) as again:
        assert httpx.post(f"{again.url}/api/indexes/docs/search", json={"question": "pump"}).status_code == 200


def test_it_stops_when_asked(home: Path) -> None:
    with serve(home) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=30) in (0, -signal.SIGTERM)
        assert "Traceback" not in running.log()


def test_it_serves_indexes_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    url = f"{postgres_url}&index={{index}}" if "?" in postgres_url else f"{postgres_url}?index={{index}}"
    make_index(Settings(home=tmp_path, index_url=url), "docs", DOCUMENTS, tmp_path / "files")
    with serve(tmp_path, "--workers", "2", environment={"BRAID_INDEX_URL": url}) as running:
        assert httpx.get(f"{running.url}/api/indexes").json()["indexes"][0]["documents"] == 3
        at = f"{running.url}/api/indexes/docs/search"
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: httpx.post(at, json={"question": "pump"}, timeout=60), range(12)))
        assert {len(answer.json()["hits"]) for answer in answers} == {len(answers[0].json()["hits"])}


def read_events(text: str) -> list[tuple[str, Any]]:
    """The names and data of server-sent events; comments are left out."""
    found: list[tuple[str, Any]] = []
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_python_connects_to_it(served: Served, openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: "Every week [1]."
    parts: list[str] = []
    with connect("docs", url=served.url) as docs:
        assert "pump" in docs.search("How is the pump cleaned?", filters={"team": ["sales"]}).hits[0].text
        assert docs.ask("How is it cleaned?", on_text=parts.append).answer == "".join(parts) == "Every week [1]."
        assert docs.ask("How is it cleaned?").citations
        assert len(list(docs.documents())) == 4
        assert docs.document(DOCUMENTS[0].name).id == DOCUMENTS[0].id
        with pytest.raises(RefusedCall, match="no document named 'nothing'") as refused:
            docs.document("nothing")
        assert refused.value.status == 404
        with pytest.raises(TransientError, match="no Prefect server is known"):
            docs.ingest("/tmp")


def test_the_page_shows_calls_that_work(served: Served, openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: "Every week [1]."
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    calls = re.findall(r"^curl .*$", page, re.MULTILINE)
    assert len(calls) == 4
    for line in calls:
        here = line.replace("http://127.0.0.1:4210", served.url).replace("/manuals", "/docs")
        answer = subprocess.run([*shlex.split(here), "--fail-with-body", "-sS"], capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "pump" in answer.stdout or "docs" in answer.stdout
    (problem,) = re.findall(r'^\{"type": "urn:braid.*?\}$', page, re.MULTILINE | re.DOTALL)
    found = httpx.get(f"{served.url}/api/indexes/dosc").json()
    shown = json.loads(problem.replace("manuls", "dosc").replace("manuals", "docs"))
    assert shown.pop("detail") in found["detail"]
    assert shown.items() <= found.items()
