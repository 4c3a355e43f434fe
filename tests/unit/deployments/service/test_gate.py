"""The gate: which callers and origins are admitted, limits of rate and size, and the messages of refusals."""

import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.service import TokenFile
from deployments.service.app import make_app
from deployments.service.guards import RateLimit
from deployments.service.problems import TooMany
from deployments.settings import Settings
from tests.support.tagged_index import Tagged, make_index


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path, embedding_model="hashing", serve_rate=0, serve_upload_mb=0.001)
    make_index(made, "docs", [Tagged(1, {"team": ["legal"]})], tmp_path / "files")
    return made


async def asked(
    chosen: Settings,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    bind: str = "127.0.0.1",
    host: str = "127.0.0.1:4210",
    **more: Any,
) -> httpx.Response:
    app = make_app(chosen, bind=bind, warm_up=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=f"http://{host}") as client:
        answer = await client.request(method, path, headers=headers or {}, **more)
    app.service.close()
    return answer


@pytest.mark.parametrize(
    ("bind", "host", "names", "status"),
    [
        ("127.0.0.1", "127.0.0.1:4210", (), 200),
        ("127.0.0.1", "localhost:4210", (), 200),
        ("127.0.0.1", "[::1]:4210", (), 200),
        ("127.0.0.1", "evil.example:4210", (), 403),
        ("127.0.0.1", "braid.example", ("braid.example",), 200),
        ("10.0.0.5", "10.0.0.5:4210", (), 401),
        ("10.0.0.5", "evil.example", (), 403),
        ("0.0.0.0", "anything.example", (), 401),
        ("0.0.0.0", "anything.example", ("braid.example",), 403),
    ],
)
async def test_a_name_that_is_not_the_servers_is_refused(
    chosen: Settings, bind: str, host: str, names: tuple[str, ...], status: int
) -> None:
    chosen = chosen.model_copy(update={"serve_hosts": names})
    assert (await asked(chosen, "/api/indexes", bind=bind, host=host)).status_code == status


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/ready", 503), ("/metrics", 403)])
async def test_probes_may_call_it_by_its_ip_address(chosen: Settings, path: str, status: int) -> None:
    chosen = chosen.model_copy(update={"serve_hosts": ("braid.example",)})
    assert (await asked(chosen, path, bind="0.0.0.0", host="10.1.2.3:4210")).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:4210"}, 200),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
    ],
)
async def test_pages_of_other_sites_get_nothing(chosen: Settings, headers: dict[str, str], status: int) -> None:
    answer = await asked(chosen, "/api/indexes", headers)
    assert answer.status_code == status
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_preflight_of_another_site_is_refused(chosen: Settings) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert (await asked(chosen, "/api/indexes/docs/search", headers, method="OPTIONS")).status_code == 403


async def test_a_problem_says_what_is_wrong_and_what_to_do(chosen: Settings) -> None:
    answer = await asked(chosen, "/api/indexes/dosc")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"], problem["instance"]) == (404, "Not Found", "/api/indexes/dosc")
    assert "did you mean 'docs'?" in problem["detail"]
    assert problem["cure"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("POST", "/api/indexes/docs/search", {"question": " "}, 422, "the question is empty"),
        ("POST", "/api/indexes/docs/search", {"question": "x", "top": 0}, 422, "top: "),
        ("POST", "/api/indexes/docs/search", {"question": "x", "filters": {"__index": ["y"]}}, 422, "reserved"),
        ("POST", "/api/indexes/docs/search", {"question": "x" * 5000}, 422, "question: "),
        ("POST", "/api/indexes/docs/ask", {"question": "x", "stream": False}, 503, "BRAID_CHAT_MODEL"),
        ("POST", "/api/indexes/..%2fx/search", {"question": "x"}, 404, "nothing is at"),
        ("POST", "/api/indexes/a b/search", {"question": "x"}, 422, "cannot be the name of an index"),
        ("GET", "/api/indexes/docs/documents/nothing", None, 404, "no document named 'nothing'"),
        ("GET", "/api/runs/nothing", None, 404, "no run named 'nothing'"),
        ("DELETE", "/api/indexes", None, 405, "Method Not Allowed"),
        ("POST", "/api/indexes/docs/ingest", {"source": "/tmp"}, 503, "no Prefect server is known"),
        ("PUT", "/api/indexes/docs/uploads/.hidden", None, 422, "cannot be the name of an uploaded file"),
    ],
)
async def test_every_wrong_call_is_answered_with_a_problem(
    chosen: Settings, method: str, path: str, body: Any, status: int, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    answer = await asked(chosen, path, method=method, json=body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert detail in answer.json()["detail"]


async def test_a_body_that_is_too_large_is_refused(chosen: Settings) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 50_000

    at = "/api/indexes/docs/search"
    announced = await asked(chosen, at, method="POST", content=b"x" * 1_000_001)
    assert (announced.status_code, announced.json()["type"]) == (413, "urn:braid:problem:too-large")
    assert (await asked(chosen, at, method="POST", content=endless())).status_code == 413
    put = await asked(chosen, "/api/indexes/docs/uploads/a.txt", method="PUT", content=b"x" * 1001)
    assert put.status_code == 413


async def test_who_has_no_valid_token_gets_nothing_once_there_are_tokens(chosen: Settings) -> None:
    assert (await asked(chosen, "/api/indexes")).status_code == 200
    secret = TokenFile(chosen.tokens_file).add("ann", tags=None)
    refused = await asked(chosen, "/api/indexes")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert (await asked(chosen, "/api/indexes", {"Authorization": f"Bearer {secret}x"})).status_code == 401
    assert (await asked(chosen, "/api/indexes", {"Authorization": f"Bearer {secret}"})).status_code == 200
    assert (await asked(chosen, "/api/indexes", {"Cookie": f"braid_token={secret}"})).status_code == 200
    assert (await asked(chosen, "/health")).status_code == 200
    TokenFile(chosen.tokens_file).revoke("ann")
    assert (await asked(chosen, "/api/indexes", {"Authorization": f"Bearer {secret}"})).status_code == 401
    assert (await asked(chosen, "/api/indexes")).status_code == 401


async def test_wrong_tokens_are_slowed_down_and_valid_ones_are_not(chosen: Settings) -> None:
    app = make_app(chosen.model_copy(update={"serve_rate": 600}), warm_up=False)
    secret = TokenFile(chosen.tokens_file).add("ann", tags=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:4210") as client:

        async def answer(token: str) -> httpx.Response:
            return await client.get("/api/indexes", headers={"Authorization": f"Bearer {token}"} if token else {})

        answers = [await answer(f"wrong{number}") for number in range(60)]
        refused = [each for each in answers if each.status_code == 429]
        assert {each.status_code for each in answers[:20]} == {401}
        assert refused
        assert int(refused[0].headers["retry-after"]) >= 1
        assert refused[0].json()["detail"] == "more than 20 wrong tokens per minute"
        assert (await answer(secret)).status_code == 200
        assert (await answer("")).status_code == 401
        typed = [(await client.post("/sign-in", data={"token": f"wrong{number}"})).status_code for number in range(40)]
        assert 429 in typed
        assert (await client.post("/sign-in", data={"token": secret})).status_code == 303
    app.service.close()


async def test_uploads_can_be_off(chosen: Settings) -> None:
    chosen = chosen.model_copy(update={"serve_upload_mb": 0.0})
    for content in (b"x", b""):
        put = await asked(chosen, "/api/indexes/docs/uploads/a.txt", method="PUT", content=content)
        assert (put.status_code, put.json()["type"]) == (403, "urn:braid:problem:uploads-off")


async def test_a_token_without_the_right_starts_nothing(chosen: Settings) -> None:
    for tags in ({"team": ["legal"]}, None):
        secret = TokenFile(chosen.tokens_file).add(str(tags), tags=tags)
        for method, path in (
            ("POST", "/api/indexes/docs/ingest"),
            ("POST", "/api/pipelines/ingest/runs"),
            ("PUT", "/api/indexes/docs/uploads/a.txt"),
        ):
            headers = {"Authorization": f"Bearer {secret}"}
            assert (await asked(chosen, path, headers, method=method, json={})).status_code == 403


async def test_the_log_has_neither_questions_nor_names_nor_tokens(
    chosen: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    secret = TokenFile(chosen.tokens_file).add("ann", tags=None)
    headers = {"Authorization": f"Bearer {secret}"}
    question = {"question": "unmistakable"}
    assert (await asked(chosen, "/api/indexes/docs/search", headers, method="POST", json=question)).status_code == 200
    path = f"/api/indexes/docs/documents/{Tagged(1, {}).name}?word=unmistakable"
    assert (await asked(chosen, path, headers)).status_code == 200
    ours = [each.getMessage() for each in caplog.records if each.name.startswith("deployments")]
    assert len(ours) == 2
    assert "for ann" in ours[0]
    assert not [each for each in ours if "unmistakable" in each or secret in each or Tagged(1, {}).secret in each]


async def test_an_original_that_has_changed_since_is_not_sent(chosen: Settings, tmp_path: Path) -> None:
    document = Tagged(1, {})
    path = f"/api/indexes/docs/documents/{document.id}/original"
    sent = await asked(chosen, path)
    assert (sent.status_code, sent.text) == (200, document.text)
    assert sent.headers["content-disposition"].startswith("attachment")
    (tmp_path / "files" / document.name).write_text("other, perhaps secret, text")
    changed = await asked(chosen, path)
    assert (changed.status_code, changed.json()["type"]) == (409, "urn:braid:problem:changed-original")


def test_a_rate_is_spread_after_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("deployments.service.guards.time.monotonic", lambda: now[0])
    limit = RateLimit(6)
    for _ in range(6):
        limit.check("ann")
    with pytest.raises(TooMany, match="more than 6 calls per minute") as refused:
        limit.check("ann")
    assert refused.value.retry_after_s == 10
    limit.check("bob")
    now[0] += 10
    limit.check("ann")
    with pytest.raises(TooMany):
        limit.check("ann")
