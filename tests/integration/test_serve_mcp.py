"""MCP with the official client: over HTTP with and without tokens, and on standard input and output."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("mcp")

from deployments.service import TokenFile
from deployments.settings import Settings
from tests.support.openai_server import OpenAIServer
from tests.support.served import Served, braid_environment, serve
from tests.support.tagged_index import Tagged, make_index

pytestmark = pytest.mark.slow
DOCUMENTS = [Tagged(1, {"team": ["legal"]}), Tagged(2, {"team": ["sales"]})]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mcp")
    make_index(Settings(home=folder), "docs", DOCUMENTS, folder / "files")
    return folder


@pytest.fixture(scope="module")
def token(home: Path) -> str:
    return TokenFile(home / "tokens.json").add("ann", tags={"team": ["legal"]})


@pytest.fixture(scope="module")
def model(_openai_server: OpenAIServer) -> dict[str, str]:
    return {
        "BRAID_OPENAI_BASE_URL": _openai_server.base_url,
        "BRAID_OPENAI_API_KEY": _openai_server.api_key,
        "BRAID_CHAT_MODEL": "scripted",
    }


@pytest.fixture(scope="module")
def served(home: Path, token: str, model: dict[str, str]) -> Iterator[Served]:
    with serve(home, "--workers", "2", environment=model) as running:
        yield running


@asynccontextmanager
async def over_http(url: str, token: str) -> AsyncIterator[Any]:
    import httpx2
    from mcp.client import Client
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


def on_stdio(home: Path, environment: dict[str, str]) -> "AbstractAsyncContextManager[Any]":
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    command = StdioServerParameters(
        command=sys.executable, args=["-m", "deployments", "mcp"], env=braid_environment(home, environment)
    )
    return Client(stdio_client(command))


async def call(client: Any, tool: str, **given: Any) -> Any:
    result = await client.call_tool(tool, given)
    assert not result.is_error, result.content
    return result.structured_content


async def check_tools(client: Any, documents: list[Tagged], openai_server: OpenAIServer) -> None:
    """Every tool answers a caller who may see these documents."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {"search", "ask", "get_document", "list_indexes", "ingest"}
    assert all(tool.description for tool in tools.values())
    listed = await call(client, "list_indexes")
    assert [(each["index"], each["documents"]) for each in listed["indexes"]] == [("docs", len(documents))]
    found = await call(client, "search", question="How is the pump cleaned?", index="docs", top=50, explain=True)
    assert {hit["document"] for hit in found["hits"]} == {each.name for each in documents}
    openai_server.script = lambda _: "Every week [1]."
    answer = await call(client, "ask", question="How is it cleaned?", index="docs")
    assert (answer["answer"], len(answer["citations"])) == ("Every week [1].", 1)
    part = await call(client, "get_document", index="docs", document=documents[0].id, most=20)
    assert (part["text"], part["next_start"]) == (documents[0].text[:20], 20)
    missing = await client.call_tool("search", {"question": "x", "index": "nothing"})
    assert missing.is_error
    assert "no index named 'nothing'" in missing.content[0].text


async def test_over_http_a_token_sees_what_its_tags_let_through(
    served: Served, token: str, openai_server: OpenAIServer
) -> None:
    async with over_http(served.url, token) as client:
        await check_tools(client, DOCUMENTS[:1], openai_server)
        hidden = DOCUMENTS[1]
        refused = await client.call_tool("ingest", {"index": "docs", "source": "/tmp"})
        assert "may not start ingestions" in refused.content[0].text
        for tool, given in {
            "get_document": {"index": "docs", "document": hidden.id},
            "search": {"index": "docs", "question": "pump", "filters": {"team": ["sales"]}},
        }.items():
            result = await client.call_tool(tool, given)
            assert hidden.secret not in json.dumps([each.model_dump(mode="json") for each in result.content])


def test_over_http_nobody_gets_in_without_a_token(served: Served, token: str) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream"}
    assert httpx.post(f"{served.url}/mcp", json=asked, headers=headers).status_code == 401
    known = {**headers, "Authorization": f"Bearer {token}"}
    assert len(httpx.post(f"{served.url}/mcp", json=asked, headers=known).json()["result"]["tools"]) == 5
    assert httpx.post(f"{served.url}/mcp", json=asked, headers={**known, "Origin": "http://a.b"}).status_code == 403


async def test_on_standard_input_and_output_the_user_of_the_machine_sees_everything(
    home: Path, model: dict[str, str], openai_server: OpenAIServer
) -> None:
    async with on_stdio(home, model) as client:
        await check_tools(client, DOCUMENTS, openai_server)


async def test_on_standard_input_and_output_a_token_limits(
    home: Path, token: str, model: dict[str, str], openai_server: OpenAIServer
) -> None:
    async with on_stdio(home, {**model, "BRAID_TOKEN": token}) as client:
        await check_tools(client, DOCUMENTS[:1], openai_server)
