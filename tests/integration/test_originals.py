"""The original of a document from any kind of source is available as long as it is unchanged."""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from deployments.service.originals import ChangedOriginal, open_original
from deployments.testkit import SourceKit
from handlers.sources import SourceOptions, Sources
from tests.support import source_places as places

pytestmark = pytest.mark.slow


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def make_kit(kind: str, folder: Path, stack: ExitStack) -> SourceKit:
    match kind:
        case "git":
            return SourceKit(kind, places.GitPlace(folder / "repository"), folder)
        case "web":
            return SourceKit(kind, stack.enter_context(places.site_place()), folder)
        case "rest":
            return SourceKit(kind, stack.enter_context(places.api_place()), folder)
        case "mail":
            return SourceKit(kind, places.MailPlace(stack.enter_context(places.mail_server()), "originals"), folder)
        case _:
            place = places.RowsPlace(folder / "sales.db")
            return SourceKit(kind, place, folder, tools=place.tools())


@pytest.mark.parametrize("kind", ["git", "web", "rest", "rows", "mail"])
def test_the_original_is_fetched_from_its_source(kind: str, tmp_path: Path, stack: ExitStack) -> None:
    kit = make_kit(kind, tmp_path, stack)
    kit.write("one.md", "Begin of one. The river runs by the town, and has done so for long. End.")
    kit.balance(kit.ingest())
    with closing(kit.open()) as store:
        (state,) = (each for each in store.document_states(limit=10) if each.content_sha256)
        roots = [each.uri for each in store.sources()]
    described = {"uri": state.uri, "name": state.name, "sha256": state.content_sha256, "mime_type": ""}
    # Only sources that need options have to be named.
    named = [SourceOptions(kit.kind, kit.place.url, kit.place.options)] if kind in ("rest", "rows", "mail") else []
    with closing(Sources(kit.tools, named)) as sources:
        found = open_original(described, sources, roots)
        with found.file as file:
            assert b"The river runs by the town" in file.read()
        assert found.size
    if kind != "mail":  # whose messages never change
        kit.write("one.md", "Begin of one. The river left its bed at night, and came into the town. End.")
        with closing(Sources(kit.tools, named)) as sources, pytest.raises(ChangedOriginal, match="has changed since"):
            open_original(described, sources, roots)
