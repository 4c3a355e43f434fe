"""The pages on sources: their files can be read, and the kind of source that one of them makes passes the checks."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deployments.source_file import read_sources
from deployments.testkit import CHECKS, SourceKit
from handlers.sources import registry, source_kinds
from tests.support.paths import ROOT

PAGES = [ROOT / "docs" / "named-sources.md", *sorted((ROOT / "docs" / "kinds").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def documented() -> Iterator[Mapping[str, Any]]:
    """The source kind that the page on your own kinds defines."""
    module = ModuleType("documented_kind")
    sys.modules[module.__name__] = module
    for code in blocks(ROOT / "docs" / "kinds" / "own.md", "python"):
        exec(compile(code, "own.md", "exec"), module.__dict__)
    yield module.__dict__
    registry.forget_kind("notes")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_sources_on_a_page_can_be_read(page: Path) -> None:
    shown = blocks(page, "ya?ml")
    assert shown
    for text in shown:
        assert read_sources(text, file=page.name)


def test_every_kind_has_a_page() -> None:
    pages = {page.stem.removesuffix("s") for page in PAGES}
    assert {name.removesuffix("s") for name in source_kinds()} - {"note"} <= pages


def test_the_kind_of_the_page_is_made_in_forty_lines() -> None:
    first = blocks(ROOT / "docs" / "kinds" / "own.md", "python")[0]
    assert len(first.splitlines()) <= 40


@pytest.mark.parametrize(
    "check", ["follows_additions_edits_and_deletions", "takes_names_of_every_sort", "equals_an_index_made_anew"]
)
def test_the_kind_of_the_page_passes_the_checks(check: str, documented: Mapping[str, Any], tmp_path: Path) -> None:
    place = documented["NotesPlace"](tmp_path / "notes.jsonl")
    CHECKS[check](SourceKit("notes", place, tmp_path))
