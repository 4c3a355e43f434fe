"""Checks of a kind of source: an index follows every change of its documents, and reports incomplete listings.

@pytest.mark.parametrize("check", CHECKS)
def test_our_tickets(check, tmp_path):
    with ticket_server() as place:
        CHECKS[check](SourceKit("tickets", place, tmp_path))
"""

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.catalog import load_catalog
from deployments.runs import Request, run_pipeline
from deployments.server.services import all_services
from deployments.settings import Settings
from deployments.testkit.places import Fault, Place
from flows.author import RunResult
from flows.storage import Storage
from handlers.sources import Listed, Source, SourceOptions, Sources, Tools
from handlers.stores import IndexStore, open_index

NAMES = (
    "plain.md",
    "with space.md",
    "100% & more.md",
    "a#b?c=d.md",
    "Überraschung.md",
    "数据.md",
    "deep/in/folders/x.md",
    "Ünï/[brackets] {braces}.md",
    "a+b=c;d,e.md",
    'it\'s "quoted".md',
)
"""Names of many kinds; a place may refuse some by raising ValueError."""

_TEXT = re.compile(r"Begin.*End\.", re.DOTALL)


@dataclass
class SourceKit:
    """Ingests a place into a separate index, and compares it with a new one."""

    kind: str
    place: Place
    folder: Path
    tools: Tools = field(default_factory=lambda: Tools(private_hosts=("127.0.0.1", "localhost")))
    texts: dict[str, str] = field(default_factory=dict[str, str])
    """The content of the place, by name."""

    def __post_init__(self) -> None:
        self._settings = Settings(home=self.folder / "home").model_copy(update={"embedding_model": "hashing"})
        self._catalog = load_catalog(self._settings)

    def write(self, name: str, text: str) -> None:
        self.place.write(name, text)
        self.texts[name] = text

    def remove(self, name: str) -> None:
        self.place.remove(name)
        del self.texts[name]

    def rename(self, old: str, new: str) -> None:
        self.write(new, self.texts[old])
        self.remove(old)

    def ingest(self, index: str = "kit", **given: Any) -> RunResult:
        """Ingest the place with newly opened sources, removing documents that are gone."""
        described = [SourceOptions(self.kind, self.place.url, self.place.options)]
        sources = Sources(self.tools, described)
        services = all_services(self._settings, index).with_objects({"sources": sources})
        parameters = {"source": self.place.url, "prune": True, "max_prune_share": 1.0, **given}
        request = Request(self._catalog.find("ingest"), parameters, index=index, engine="inline")
        try:
            return run_pipeline(request, settings=self._settings, catalog=self._catalog, services=services)
        finally:
            services.close()
            sources.close()

    @contextmanager
    def opened(self) -> Iterator[Source]:
        """The place as a source of its own."""
        sources = Sources(self.tools, [SourceOptions(self.kind, self.place.url, self.place.options)])
        try:
            yield sources.at(self.place.url)
        finally:
            sources.close()

    def balance(self, result: RunResult) -> Mapping[str, Any]:
        assert result.status == "succeeded", [(each.id, each.error) for each in result.errors]
        balance = result.outputs["balance"]
        assert balance["exact"], balance
        return balance

    def follow(self) -> Mapping[str, Any]:
        """Ingest, require that the index has each document's text exactly once and nothing else, and return the
        balance.
        """
        balance = self.balance(self.ingest())
        assert sorted(self.found()) == sorted(" ".join(text.split()) for text in self.texts.values())
        return balance

    def found(self, index: str = "kit") -> list[str]:
        """The texts of the documents in the index, without their titles, white space collapsed."""
        store = self.open(index)
        try:
            ids = [each.id for each in store.document_states(limit=1000) if each.content_sha256]
            texts = [" ".join(chunk.text for chunk in store.chunks_of(each)) for each in ids]
        finally:
            store.close()
        # A page's title, or further data from a source, may surround its text.
        return [" ".join(found[0].split()) if (found := _TEXT.search(text)) else text for text in texts]

    def open(self, index: str = "kit") -> IndexStore:
        return open_index(self._settings.index_location(index))


def text(word: str, sentence: str = "The river runs by the town.") -> str:
    """A text that the checks find again in the documents of the source."""
    return (
        f"Begin of {word}. {sentence} It has enough words to be the main text of a page, and more than a menu has. End."
    )


def follows_additions_edits_and_deletions(kit: SourceKit) -> None:
    for word in ("alpha", "beta", "gamma"):
        kit.write(f"{word}.md", text(word))
    assert kit.follow()["processed"] == 3
    assert kit.follow()["unchanged"] == 3, "a second run does nothing"
    kit.write("beta.md", text("beta", "The river left its bed at night."))
    kit.write("delta.md", text("delta"))
    balance = kit.follow()
    assert (balance["processed"], balance["unchanged"]) == (2, 2)
    if not kit.place.keeps_gone:
        kit.remove("alpha.md")
        assert kit.follow()["unchanged"] == 3


def follows_renames(kit: SourceKit) -> None:
    kit.write("old.md", text("renamed"))
    kit.write("other.md", text("other"))
    kit.follow()
    kit.rename("old.md", "new.md")
    if kit.place.keeps_gone:
        kit.texts["old.md"] = kit.texts["new.md"]
    kit.follow()


def pages_through_everything(kit: SourceKit) -> None:
    for number in range(60):
        kit.write(f"many/{number:03}.md", text(f"number {number}"))
    assert kit.follow()["processed"] == 60


def takes_names_of_every_sort(kit: SourceKit) -> None:
    for number, name in enumerate(NAMES):
        try:
            kit.write(name, text(f"name {number}"))
        except ValueError:
            continue  # the place does not allow such names
    assert len(kit.texts) > 3
    kit.follow()
    assert kit.follow()["unchanged"] == len(kit.texts)
    store = kit.open()
    names = [each.name for each in store.document_states(limit=1000)]
    assert len(set(names)) == len(names)
    store.close()


def waits_when_asked_to(kit: SourceKit) -> None:
    _meets(kit, "busy")


def goes_on_after_a_cut(kit: SourceKit) -> None:
    _meets(kit, "cut")


def _meets(kit: SourceKit, fault: Fault) -> None:
    """A transient fault does not change the result."""
    for word in ("one", "two", "three"):
        kit.write(f"{word}.md", text(word))
    with kit.place.broken(fault):
        kit.follow()


def says_that_a_token_has_expired(kit: SourceKit) -> None:
    kit.write("kept.md", text("kept"))
    kit.follow()
    with kit.place.broken("expired"):
        result = kit.ingest()
        assert result.status == "failed"
        assert any("expired" in str(each.error) or "denied" in str(each.error) for each in result.errors), result.errors
    assert len(kit.found()) == 1, "nothing is deleted"
    kit.follow()


def deletes_nothing_after_half_a_listing(kit: SourceKit) -> None:
    for number in range(6):
        kit.write(f"{number}.md", text(f"half {number}"))
    kit.follow()
    with kit.place.broken("half"):
        kit.ingest()
    assert len(kit.found()) == 6
    kit.follow()


def survives_a_kill(kit: SourceKit) -> None:
    for number in range(5):
        kit.write(f"{number}.md", text(f"killed {number}"))
    for fetches in (1, 3, 5):
        child = os.fork()
        if child == 0:
            _die_after(fetches)
            kit.ingest()
            os._exit(0)
        os.waitpid(child, 0)
    kit.follow()


def _die_after(fetches: int) -> None:
    """End this process in the middle of fetch number `fetches`."""
    done = itertools.count(1)

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(self: Any, *arguments: Any, **named: Any) -> Any:
            if next(done) == fetches:
                os._exit(9)
            return original(self, *arguments, **named)

        return fetch

    Sources.fetch = dying(Sources.fetch)
    Storage.read = dying(Storage.read)


def answers_several_threads_at_once(kit: SourceKit) -> None:
    """Each thread gets the requested document, from a source that has listed and from one that has not."""
    for number in range(5):
        kit.write(f"{number}.md", text(f"thread {number}"))
    with kit.opened() as listing, kit.opened() as other:
        pages = listing.pages(lambda name: True)
        uris = [each.uri for page in pages for each in page if isinstance(each, Listed)]
        right = {uri: listing.fetch(uri).data for uri in uris}
        assert len({*right.values()}) >= 5
        for source in (listing, other):
            with ThreadPoolExecutor(8) as threads:
                found = [*threads.map(lambda uri, source=source: (uri, source.fetch(uri).data), uris * 4)]
            assert all(right[uri] == data for uri, data in found)


def lets_two_runs_work_at_once(kit: SourceKit) -> None:
    for number in range(8):
        kit.write(f"{number}.md", text(f"twice {number}"))
    runs = [threading.Thread(target=kit.ingest) for _ in range(2)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    kit.follow()
    assert kit.follow()["unchanged"] == 8


def equals_an_index_made_anew(kit: SourceKit) -> None:
    """A series of changes, after which the index equals a new one."""
    import random

    dice = random.Random(kit.kind)
    for step in range(12):
        names = sorted(kit.texts)
        kind = dice.choice(["write", "edit", "edit", "remove", "rename"]) if len(names) > 2 else "write"
        if kit.place.keeps_gone and kind in ("remove", "rename"):
            kind = "edit"
        if kind == "write":
            kit.write(f"life{step}.md", text(f"life {step}"))
        elif kind == "edit":
            kit.write(dice.choice(names), text(f"edited {step}"))
        elif kind == "remove":
            kit.remove(dice.choice(names))
        else:
            kit.rename(dice.choice(names), f"moved{step}.md")
        if dice.random() < 0.5:
            kit.ingest()
    kit.follow()
    kit.balance(kit.ingest("anew"))
    mine, new = kit.open(), kit.open("anew")
    try:
        assert mine.fingerprint() == new.fingerprint()
    finally:
        mine.close()
        new.close()


CHECKS: dict[str, Callable[[SourceKit], None]] = {
    check.__name__: check
    for check in (
        follows_additions_edits_and_deletions,
        follows_renames,
        pages_through_everything,
        takes_names_of_every_sort,
        waits_when_asked_to,
        goes_on_after_a_cut,
        says_that_a_token_has_expired,
        deletes_nothing_after_half_a_listing,
        survives_a_kill,
        answers_several_threads_at_once,
        lets_two_runs_work_at_once,
        equals_an_index_made_anew,
    )
}
"""Each check by its name."""
