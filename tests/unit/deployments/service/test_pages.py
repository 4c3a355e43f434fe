"""The pages, without a browser: nothing in a document becomes markup, and signing in keeps the token to itself."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.service import TokenFile
from deployments.service.answers import DocumentPassage
from deployments.service.app import make_app
from deployments.service.pieces import pieces
from deployments.service.prose import prose, table, wanted_terms
from deployments.settings import Settings
from handlers.records import Document
from tests.support.tagged_index import Tagged, make_index

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path, embedding_model="hashing")
    make_index(made, "docs", [Tagged(1, {"team": ["legal"]}), Tagged(2, {})], tmp_path / "files")
    return made


@pytest.fixture
async def client(chosen: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(chosen, warm_up=False)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1", headers={"Accept": "text/html"}
    ) as made:
        yield made
    app.service.close()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?q=pump",
        "/?q=pump&tag=team=legal",
        "/?q=nothing",
        "/ask",
        "/ask?q=pump",
        "/indexes",
        "/indexes/docs",
        "/indexes/docs?status=failed",
        "/indexes/new",
        "/docs",
        "/sign-in",
        f"/indexes/docs/documents/{Tagged(1, {}).id}?q=pump",
    ],
)
async def test_every_page_is_there(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert "</html>" in answer.text


async def test_results_have_marks_bars_and_lead_to_the_passage(client: httpx.AsyncClient) -> None:
    page = (await client.get("/?q=How is the pump cleaned?")).text
    assert "<mark>pump</mark>" in page
    assert 'aria-label="meaning: rank 1, score' in page
    assert "/indexes/docs/documents/" in page
    only = (await client.get("/?q=pump&tag=team=legal")).text
    assert Tagged(1, {}).secret in only
    assert Tagged(2, {}).secret not in only


async def test_problems_are_pages_for_people_and_documents_for_programs(client: httpx.AsyncClient) -> None:
    page = await client.get("/indexes/docs/documents/nothing")
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "no document named" in page.text
    program = await client.get("/indexes/docs/documents/nothing", headers={"Accept": "*/*"})
    assert program.headers["content-type"] == "application/problem+json"


async def test_signing_in_keeps_the_token_in_a_cookie_that_scripts_cannot_read(
    chosen: Settings, client: httpx.AsyncClient
) -> None:
    secret = TokenFile(chosen.tokens_file).add("ann", tags={"team": ["legal"]})
    refused = await client.get("/?q=pump")
    assert (refused.status_code, refused.headers["location"]) == (303, "/sign-in?next=/%3Fq%3Dpump")
    wrong = await client.post("/sign-in", data={"token": "x", "next": "/"})
    assert wrong.status_code == 401
    entered = await client.post("/sign-in", data={"token": secret, "next": "/?q=pump"})
    assert entered.headers["location"] == "/?q=pump"
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page = (await client.get("/?q=pump")).text
    assert "You see documents with team legal." in page
    assert secret not in page
    await client.post("/sign-out")
    assert (await client.get("/")).status_code == 303


@pytest.mark.parametrize(
    "following", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nX: y"]
)
async def test_signing_in_leads_to_no_other_site(chosen: Settings, client: httpx.AsyncClient, following: str) -> None:
    secret = TokenFile(chosen.tokens_file).add("ann", tags=None)
    entered = await client.post("/sign-in", data={"token": secret, "next": following})
    assert entered.headers["location"] == "/"


async def test_nothing_of_a_document_becomes_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings(home=tmp_path, embedding_model="hashing")
    monkeypatch.setattr(Tagged, "text", f"The pump {EVIL}\n\n# {EVIL}\n\n| {EVIL} |\n|---|\n| {EVIL} |\n\n- {EVIL}")
    monkeypatch.setattr(
        "tests.support.tagged_index.Document",
        lambda *given, **named: replace(Document(*given, **named), title=EVIL, tags=(("team", EVIL),)),
    )
    make_index(chosen, "docs", [Tagged(1, {})], tmp_path / "files")
    app = make_app(chosen, warm_up=False)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        for path in (
            "/?q=pump",
            "/",
            f"/?q={EVIL}",
            f"/ask?q={EVIL}",
            f"/indexes/docs/documents/{Tagged(1, {}).id}",
            "/indexes/docs",
        ):
            page = (await client.get(path, headers={"Accept": "text/html"})).text
            assert "<img" not in page
            assert "<script>" not in page
            assert "alert(1)" in page or path == "/"
    app.service.close()


@given(st.text(st.sampled_from("ab |-#\n<>&`*1."), max_size=60))
def test_prose_shows_every_letter_and_no_markup_of_the_text(text: str) -> None:
    shown = str(prose(text, wanted_terms("a b")))
    assert "<b" not in shown.replace("<body", "")
    letters = "".join(each for each in text if each in "ab")
    unmarked = shown
    for tag in ("thead", "tbody", "table", "mark", "pre", "ul", "li", "h2", "h3", "tr", "th", "td", "p"):
        unmarked = unmarked.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    unmarked = unmarked.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
    assert "".join(each for each in unmarked if each in "ab") == letters
    assert "<" not in unmarked


def test_a_table_in_markdown_becomes_a_table() -> None:
    shown = str(table("| a | b |\n|---|---|\n| 1 | 2 |"))
    assert shown.count("<th>") == 2
    assert shown.count("<td>") == 2
    assert str(table("no table")) == "<pre>no table</pre>"


def test_what_two_passages_share_is_shown_once_with_the_chosen_one() -> None:
    def passage(number: int, start: int, text: str) -> DocumentPassage:
        end = start + len(text)
        return DocumentPassage(
            chunk_id=str(number), position=number, heading="", page=None, start=start, end=end, tokens=1, text=text
        )

    found = [passage(0, 0, "one two"), passage(1, 4, "two three"), passage(2, 14, "four")]
    assert [str(each.html) for each in pieces(found, ())] == ["<p>one two</p>", "<p>three</p>", "<p>four</p>"]
    assert [str(each.html) for each in pieces(found, (), chosen="1")] == [
        "<p>one</p>",
        "<p>two three</p>",
        "<p>four</p>",
    ]
