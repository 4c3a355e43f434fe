"""The table of the sources names existing tests, and contains every test of a peer's fault."""

import re
from pathlib import Path

from tests.support.paths import TESTS

PAGE = (TESTS.parent / "docs" / "sources.md").read_text(encoding="utf-8")


def functions_of(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:unit|acceptance|integration)/[\w/]+\.py)(?:::(test_\w+))?`", PAGE)
    assert len(named) > 40
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (TESTS / file).is_file() or (test and test not in functions_of(TESTS / file))
    ]
    assert missing == []


def test_the_page_lists_every_test_of_a_fault_and_no_other() -> None:
    listed = re.findall(r"\| `(test_\w+)` \|", PAGE)
    assert len(listed) >= 25
    assert sorted(listed) == sorted(functions_of(TESTS / "acceptance" / "test_peer_faults.py"))
