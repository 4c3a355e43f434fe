"""No token ever sees what its tags exclude: not in answers, counts, reasons, explanations, files or messages."""

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from deployments.service import TokenFile
from deployments.service.app import make_app
from deployments.settings import Settings
from handlers.tags import TagFilter
from tests.support.openai_server import OpenAIServer
from tests.support.profiles import scaled
from tests.support.tagged_index import Tagged, make_index

VALUES = {"team": ["legal", "sales"], "level": ["open", "inner"]}
tags = st.fixed_dictionaries(
    {}, optional={name: st.lists(st.sampled_from(values), min_size=1, unique=True) for name, values in VALUES.items()}
)
documents = st.lists(st.tuples(tags, st.booleans()), min_size=1, max_size=5).map(
    lambda drawn: [Tagged(number, found, failed) for number, (found, failed) in enumerate(drawn)]
)


def called(base: str, secret: str) -> list[tuple[str, str, Any]]:
    """Every way to ask for something: method, path and body. `secret` is a word of a document that may be excluded."""
    hidden = Tagged(int(re.findall(r"zq(\d+)x", secret)[0]), {})
    ways: list[tuple[str, str, Any]] = [("GET", "/api/indexes", None)]
    for index in ("docs", "other"):
        at = f"/api/indexes/{index}"
        question = {"question": f"How is the pump of {secret} cleaned by GHENT WORKS?", "top": 50, "explain": True}
        ways += [
            ("GET", at, None),
            ("POST", f"{at}/search", question),
            ("POST", f"{at}/search", {"question": secret, "filters": {"team": ["legal", "sales"]}}),
            ("POST", f"{at}/search", {"question": f"Gehnt zq* pmup -{secret}", "explain": True}),
            ("POST", f"{at}/search", {"question": f'team:legal level:inner "{secret}"', "explain": True}),
            ("POST", f"{at}/ask", {**question, "stream": False}),
            ("POST", f"{at}/ask", question),
            ("GET", f"{at}/documents", None),
            ("GET", f"{at}/documents?status=failed", None),
            ("GET", f"{at}/documents/{hidden.id}", None),
            ("GET", f"{at}/documents/{hidden.name}", None),
            ("GET", f"{at}/documents/{hidden.id}/original", None),
        ]
    for index in ("docs", "other", ""):
        ways += [
            ("GET", f"/?index={index}&q={secret}+pump", None),
            ("GET", f"/?index={index}&q=pump&tag=team=legal&top=100", None),
            ("GET", f"/ask?index={index}&q=pump", None),
            ("GET", f"/?index={index}", None),
            ("GET", f"/indexes/{index}" if index else "/indexes", None),
            ("GET", f"/indexes/{index}/documents/{hidden.id}?q=pump", None),
            ("GET", f"/indexes/{index}/documents/{hidden.name}", None),
        ]
    tools: dict[str, dict[str, Any]] = {
        "list_indexes": {},
        "search": {"question": f"pump {secret}", "index": "docs", "top": 50, "explain": True},
        "ask": {"question": f"pump {secret}", "index": "docs"},
        "get_document": {"document": hidden.id, "index": "docs"},
        "ingest": {"source": "/", "index": "docs"},
    }
    for name, arguments in tools.items():
        for index in ("docs", "other"):
            given = {**arguments, "index": index} if arguments else {}
            params = {"name": name, "arguments": given}
            ways.append(("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}))
    return [*ways, ("GET", "/api/runs", None), ("GET", "/metrics", None), ("GET", "/api/pipelines", None)]


# Every example asks more than a hundred questions; to look for a smaller one that fails would take minutes.
PHASES = set(Phase) - {Phase.shrink, Phase.explain}


@pytest.mark.slow
@settings(
    max_examples=scaled(12), phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(found=documents, seen=tags.filter(bool), data=st.data())
def test_no_way_out_shows_what_the_tags_of_a_token_exclude(
    found: Sequence[Tagged],
    seen: Mapping[str, Sequence[str]],
    data: st.DataObject,
    openai_server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = TagFilter.of(seen)
    permitted = [each for each in found if where.matches(each.pairs())]
    excluded = [each for each in found if each not in permitted]
    about = data.draw(st.sampled_from(found))
    openai_server.reset()
    openai_server.script = lambda prompt: prompt + " [1]"  # a model that repeats all it was shown
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("BRAID_HOME", folder)
        chosen = Settings(
            home=Path(folder),
            embedding_model="hashing",
            openai_base_url=openai_server.base_url,
            chat_model="scripted",
            openai_api_key=openai_server.api_key,  # pyright: ignore[reportArgumentType]
        )
        make_index(chosen, "docs", found, Path(folder, "files"))
        make_index(chosen, "other", excluded, Path(folder, "files"))
        token = TokenFile(chosen.tokens_file).add("ann", tags=seen)
        answers = asyncio.run(answered(chosen, token, called("", about.secret)))
    for (way, body), (status, text) in answers.items():
        asked = about.secret if about.secret in way + body else ""
        shown = {each.secret for each in excluded if each.secret.casefold() in text.casefold().replace(asked, "")}
        assert not shown, f"{way} {body} answers {status}: {text}"
        assert "zqnever" not in text
        assert not [each for each in excluded if each.id in text and each.id not in way + body], way
    check_counts(answers, permitted)


@pytest.mark.slow
@settings(
    max_examples=scaled(3), phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(found=documents, seen=tags.filter(bool), data=st.data())
def test_no_way_out_changes_with_what_the_tags_of_a_token_exclude(
    found: Sequence[Tagged],
    seen: Mapping[str, Sequence[str]],
    data: st.DataObject,
    openai_server: OpenAIServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even a score or an order: from them, one could find out which words an excluded document has."""
    where = TagFilter.of(seen)
    permitted = [each for each in found if where.matches(each.pairs())]
    about = data.draw(st.sampled_from(found))
    openai_server.reset()
    openai_server.script = lambda prompt: prompt + " [1]"
    answers: list[dict[tuple[str, str], tuple[int, str]]] = []
    for documents in (found, permitted):
        with tempfile.TemporaryDirectory() as folder:
            monkeypatch.setenv("BRAID_HOME", folder)
            chosen = Settings(
                home=Path(folder),
                embedding_model="hashing",
                openai_base_url=openai_server.base_url,
                chat_model="scripted",
                openai_api_key=openai_server.api_key,  # pyright: ignore[reportArgumentType]
            )
            make_index(chosen, "docs", documents, Path(folder, "files"))
            token = TokenFile(chosen.tokens_file).add("ann", tags=seen)
            ways = called("", about.secret)
            given = asyncio.run(answered(chosen, token, ways))
            answers.append({way: (status, without_times(text, folder)) for way, (status, text) in given.items()})
    for way, (status, text) in answers[0].items():
        expected = answers[1][way][1].splitlines()
        differing = [pair for pair in zip(text.splitlines(), expected, strict=False) if pair[0] != pair[1]]
        assert (status, differing, len(text)) == (answers[1][way][0], [], len(answers[1][way][1])), way


def without_times(text: str, folder: str) -> str:
    """An answer without what may differ between two runs of the same."""
    text = re.sub(r'(\\?"(?:seconds|updated)\\?": ?)[-+.e\d]+', r"\1", text.replace(folder, "HOME"))
    text = re.sub(r"<time [^>]*>[^<]*</time>", "", text)
    return re.sub(r"[\d.,]+ (?:ms|s)\b", "", text)


def check_counts(answers: Mapping[tuple[str, str], tuple[int, str]], permitted: Sequence[Tagged]) -> None:
    read = {
        way: json.loads(text)
        for (way, _), (status, text) in answers.items()
        if way.startswith("GET /api/ind") and status == 200 and text.startswith("{")
    }
    listed = read["GET /api/indexes"]["indexes"]
    assert [each["index"] for each in listed] == (["docs"] if permitted else [])
    if permitted:
        assert (listed[0]["documents"], listed[0]["passages"]) == (len(permitted), 2 * len(permitted))
        page = read["GET /api/indexes/docs/documents"]
        assert {each["name"] for each in page["documents"]} == {each.name for each in permitted}
        failed = sum(each.failed_again for each in permitted)
        expected = {"failed": failed, "processed": len(permitted) - failed, "pending": 0, "searchable": len(permitted)}
        assert page["counts"] == expected
    for closed in ("GET /api/runs", "GET /metrics", "GET /api/pipelines"):
        assert answers[closed, "null"][0] == 403


async def answered(
    chosen: Settings, token: str, ways: Sequence[tuple[str, str, Any]]
) -> dict[tuple[str, str], tuple[int, str]]:
    app = make_app(chosen, warm_up=False)
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/html, application/json, text/event-stream"}
    found: dict[tuple[str, str], tuple[int, str]] = {}
    transport = httpx.ASGITransport(app=app)
    async with app.running(), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for method, path, body in ways:
            answer = await client.request(method, path, json=body, headers=headers)
            assert answer.status_code != 500, f"{method} {path}: {answer.text}"
            if path == "/mcp":
                assert answer.status_code == 200, answer.text
            found[f"{method} {path}", json.dumps(body)] = answer.status_code, answer.text
    return found
