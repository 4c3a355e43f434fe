"""REST queries against a real web server: pages, selections, and the hosts and secrets that they must not reach or reveal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.errors import InvalidPipeline
from handlers.data import AllowedHosts, Rest
from handlers.data.binding import BadQuery
from tests.support.data import StepFailed, data_services, step_output
from tests.support.web_server import WebAnswer, WebRequest, WebServer, run_web_server

TOKEN = "hunter22-token"


def answer(request: WebRequest) -> WebAnswer:
    page = int(request.query.get("page", ["1"])[0])
    match request.path:
        case "/items":
            return WebAnswer([{"id": page * 2 - 1}, {"id": page * 2}] if page <= 3 else [])
        case "/linked":
            more = {"link": f'</linked?page={page + 1}>; rel="next"'} if page < 3 else {}
            return WebAnswer([page], headers=more)
        case "/cursor":
            now = request.query.get("after", ["a"])[0]
            return WebAnswer({"data": [{"name": now}], "next": {"a": "b", "b": None}[now]})
        case "/moved":
            return WebAnswer(status=302, headers={"location": "/items?page=3"})
        case "/away":
            return WebAnswer(status=302, headers={"location": "http://169.254.169.254/latest/meta-data"})
        case "/linked-away":
            return WebAnswer([1], headers={"link": '<http://other.example.com/>; rel="next"'})
        case "/busy":
            return WebAnswer({"why": request.headers.get("authorization", "")}, 503, {"retry-after": "0"})
        case "/text":
            return WebAnswer(b"hello")
        case "/denied":
            return WebAnswer({"token": request.headers.get("authorization", "")}, 403)
        case _:
            return WebAnswer(
                {
                    "path": request.path,
                    "query": request.query,
                    "method": request.method,
                    "body": request.body,
                    "auth": request.headers.get("authorization"),
                    "host": request.headers["host"],
                }
            )


@pytest.fixture(scope="module")
def web() -> Iterator[WebServer]:
    with run_web_server(answer) as server:
        yield server


@pytest.fixture
def ask(web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CRM_TOKEN", TOKEN)

    def ask(path: str, fields: Any = None, **options: Any) -> Any:
        web.requests.clear()
        hosts = AllowedHosts(private=["127.0.0.1"])
        step = {key: options.pop(key) for key in ("retry",) if key in options}
        query = {"source": "rest", "url": path if "://" in path else f"{web.url}{path}", **options}
        return step_output("query", query, fields, services=data_services(tmp_path, rest=Rest(hosts)), **step)

    return ask


def test_answers_pages_and_selections(ask: Any) -> None:
    assert ask("/items") == [{"id": 1}, {"id": 2}]
    assert ask("/items", select="$[*].id", pagination={"type": "page"}) == [1, 2, 3, 4, 5, 6]
    assert ask("/linked", pagination={"type": "link"}) == [1, 2, 3]
    cursor = {"type": "cursor", "cursor": "$.next", "param": "after"}
    assert ask("/cursor", select="$.data[*]", pagination=cursor) == [{"name": "a"}, {"name": "b"}]
    assert ask("/moved") == [{"id": 5}, {"id": 6}]
    with pytest.raises(StepFailed, match="more than max_pages 2 pages"):
        ask("/items", pagination={"type": "page", "max_pages": 2})


def test_values_go_into_their_place_and_no_further(ask: Any) -> None:
    fields = {"name": "a/../b?x=1&y=2#z", "since": "2026-01-01&admin=1", "n": 3}
    got = ask(
        "/users/{name}/x", fields, params={"since": "{since}", "n": "{n}"}, method="POST", body={"name": "{name}"}
    )
    assert got["path"] == "/users/a%2F..%2Fb%3Fx%3D1%26y%3D2%23z/x"
    assert got["query"] == {"since": ["2026-01-01&admin=1"], "n": ["3"]}
    assert got["body"] == {"name": fields["name"]}
    with pytest.raises(StepFailed, match=r"'\.\.' cannot be a part of an address"):
        ask("/users/{name}/x", {"name": ".."})


def test_the_query_part_of_the_url_is_sent(ask: Any) -> None:
    fields = {"customer": "17&admin=1", "tags": ["a", "b"], "nothing": None}
    assert ask("/orders?customer=17&since=2026-01-01")["query"] == {"customer": ["17"], "since": ["2026-01-01"]}
    assert ask("/orders?customer={customer}&tag={tags}&x={nothing}", fields)["query"] == {
        "customer": ["17&admin=1"],
        "tag": ["a", "b"],
    }
    assert ask("/orders?a=1&a=2&b=1#part", params={"b": 2, "c": 3})["query"] == {
        "a": ["1", "2"],
        "b": ["2"],
        "c": ["3"],
    }
    assert ask("/items?page=7", select="$[*].id", pagination={"type": "page"}) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(StepFailed, match="the name of a parameter in the query of `url` is a placeholder"):
        ask("/orders?{customer}=1", fields)


def test_secrets_are_sent_and_never_shown(ask: Any, web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    assert ask("/echo", auth={"secret": "env:CRM_TOKEN"})["auth"] == f"Bearer {TOKEN}"
    for path in ("/denied", "/busy"):
        with pytest.raises(StepFailed, match=r"\*\*\*") as caught:
            ask(path, auth={"secret": "env:CRM_TOKEN"})
        assert TOKEN not in str(caught.value)
    assert TOKEN not in caplog.text


def test_busy_services_are_asked_again(ask: Any, web: WebServer) -> None:
    with pytest.raises(StepFailed, match="answered 503"):
        ask("/busy", retry={"max_attempts": 3, "delay_s": 60})  # Retry-After says 0
    assert len(web.requests) == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/away", r"redirects to another host, '169.254.169.254'"),
        ("http://169.254.169.254/latest/meta-data", "the host '169.254.169.254' is not allowed"),
        ("http://localhost/x", "the host 'localhost' is not allowed; the operator adds it to BRAID_REST_HOSTS"),
        ("/text", "did not answer with JSON"),
    ],
)
def test_what_it_must_not_reach_is_refused(path: str, message: str, ask: Any) -> None:
    with pytest.raises(StepFailed, match=message):
        ask(path)


def test_the_next_page_stays_on_its_host(ask: Any, web: WebServer) -> None:
    with pytest.raises(StepFailed, match="the next page is on another host, 'other.example.com'; refused"):
        ask("/linked-away", pagination={"type": "link"}, auth={"secret": "env:CRM_TOKEN"})


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "fc00::1",
        "::ffff:127.0.0.1",
        "224.0.0.1",
        "2002:7f00:1::",
    ],
)
def test_an_allowed_name_must_not_lead_to_a_private_address(address: str) -> None:
    hosts = AllowedHosts(["*.example.com"], resolve=lambda host, port: ["93.184.216.34", address])
    with pytest.raises(BadQuery, match="has the private address"):
        hosts.check("api.example.com", 443)


def test_the_address_that_was_checked_is_the_one_connected_to(web: WebServer, tmp_path: Path) -> None:
    lookups: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"]

    rest = Rest(AllowedHosts(private=["api.internal.example"], resolve=resolve))
    url = f"http://api.internal.example:{web.port}/echo"
    got = step_output("query", {"source": "rest", "url": url}, services=data_services(tmp_path, rest=rest))
    assert got["host"] == f"api.internal.example:{web.port}"
    assert lookups == ["api.internal.example"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "file:///etc/passwd"}, "must be an http:// or https:// address"),
        ({"url": "http://{host}/x"}, "the host of `url` has a placeholder"),
        ({"url": "https://me:pw@example.com/"}, "`url` has a user or password"),
        (
            {"url": "https://example.com/", "headers": {"Authorization": "Bearer x"}},
            "the header 'Authorization' holds a secret",
        ),
        ({"url": "https://example.com/", "select": "$["}, "is not a JSONPath"),
        ({}, "source `rest` needs the option 'url'"),
    ],
)
def test_requests_are_refused_when_they_are_planned(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        step_output("query", {"source": "rest", **options}, {"host": "x"}, services=data_services(tmp_path))
    assert message in str(caught.value)


def test_answers_are_bounded(ask: Any) -> None:
    with pytest.raises(StepFailed, match="more than max_bytes 5"):
        ask("/items", max_bytes=5)
