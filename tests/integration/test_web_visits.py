"""An unchanged page is requested with its validators (ETag, date), and the server does not send its body again."""

from collections import Counter
from pathlib import Path

from handlers.sources import Listed, Sources, Tools
from tests.support.web_server import WebAnswer, WebRequest, run_web_server

LINKS = "<a href='one.html'>One</a> <a href='two.html'>Two</a> <a href='new.html'>New</a>"
HTML = {"content-type": "text/html"}


class Site:
    """A server of pages with an ETag, a date or neither; it answers 304 if a page is unchanged."""

    def __init__(self) -> None:
        self.pages = {"/docs/": (LINKS, {"etag": '"1"'}), "/docs/one.html": ("one", {"etag": '"a"'})}
        self.pages["/docs/two.html"] = ("two", {"last-modified": "Mon, 02 Nov 2026 10:00:00 GMT"})
        self.sent: Counter[str] = Counter()

    def answer(self, request: WebRequest) -> WebAnswer:
        if request.path not in self.pages:
            return WebAnswer(b"", 404)
        text, validators = self.pages[request.path]
        asked = [request.headers.get("if-none-match"), request.headers.get("if-modified-since")]
        if any(each in validators.values() for each in asked if each):
            return WebAnswer(b"", 304, validators)
        self.sent[request.path] += 1
        return WebAnswer(f"<html><body>{text}</body></html>".encode(), 200, {**HTML, **validators})


def listed(url: str, cache: Path | None) -> dict[str, str | None]:
    """The names with their tokens."""
    sources = Sources(Tools(private_hosts=("127.0.0.1",), cache=cache))
    try:
        pages = sources.at(f"{url}/docs/").pages(lambda name: True)
        return {each.name: each.token for page in pages for each in page if isinstance(each, Listed)}
    finally:
        sources.close()


def test_only_what_has_changed_is_sent_again(tmp_path: Path) -> None:
    site = Site()
    with run_web_server(site.answer) as server:
        first = listed(server.url, tmp_path)
        assert sorted(first) == ["index.html", "one.html", "two.html"]
        assert site.sent == {"/docs/": 1, "/docs/one.html": 1, "/docs/two.html": 1}
        site.pages["/docs/one.html"] = ("one more", {"etag": '"b"'})
        again = listed(server.url, tmp_path)
        assert site.sent == {"/docs/": 1, "/docs/one.html": 2, "/docs/two.html": 1}
        assert {name for name in first if first[name] != again[name]} == {"one.html"}
        site.pages["/docs/new.html"] = ("new", {})
        del site.pages["/docs/two.html"]
        assert sorted(listed(server.url, tmp_path)) == ["index.html", "new.html", "one.html"]
        assert site.sent == {"/docs/": 1, "/docs/one.html": 2, "/docs/two.html": 1, "/docs/new.html": 1}


def test_what_was_remembered_in_another_form_is_asked_for_anew(tmp_path: Path) -> None:
    site = Site()
    with run_web_server(site.answer) as server:
        first = listed(server.url, tmp_path)
        (file,) = (tmp_path / "web").iterdir()
        file.write_text('{"http://x": {"etag": 1}}')
        assert listed(server.url, tmp_path) == first == listed(server.url, None)
    assert set(site.sent.values()) == {3}
