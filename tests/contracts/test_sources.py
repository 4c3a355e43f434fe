"""Every kind of source keeps the same promises; the checks are those that kinds of your own have to pass, too."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deployments.testkit import CHECKS, SourceKit
from tests.support import source_places as places

FAULTS = {
    "waits_when_asked_to": "busy",
    "goes_on_after_a_cut": "cut",
    "says_that_a_token_has_expired": "expired",
    "deletes_nothing_after_half_a_listing": "half",
}
KINDS = ("folder", "memory", "git", "site", "sitemap", "api", "feed", "rows")


@pytest.fixture
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SourceKit]:
    with ExitStack() as stack:
        more: dict[str, Any] = {}
        match request.param:
            case "folder":
                kind, place = "files", places.FolderPlace(tmp_path / "docs")
            case "memory":
                kind, place = "files", places.MemoryPlace()
            case "git":
                kind, place = "git", places.GitPlace(tmp_path / "repository")
            case "site" | "sitemap":
                kind, place = "web", stack.enter_context(places.site_place(sitemap=request.param == "sitemap"))
            case "api":
                kind, place = "rest", stack.enter_context(places.api_place())
            case "feed":
                kind, place = "feed", stack.enter_context(places.feed_place())
            case _:
                kind, place = "rows", places.RowsPlace(tmp_path / "sales.db")
                more["tools"] = place.tools()
        yield SourceKit(kind, place, tmp_path, **more)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kit", KINDS, indirect=True)
def test_a_kind_of_source_passes_the_checks(kit: SourceKit, check: str) -> None:
    fault = FAULTS.get(check)
    if fault is not None and fault not in kit.place.faults:
        pytest.skip(f"this place cannot be made to fail by {fault!r}")
    CHECKS[check](kit)
