"""docs/architecture.md and CONTRIBUTING.md describe the rooms as they are."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "architecture.md"
HOUSES = ("deployments", "handlers", "flows")


def rooms() -> list[Path]:
    return sorted(init.parent for house in HOUSES for init in (ROOT / house).rglob("__init__.py"))


@pytest.mark.parametrize("room", rooms(), ids=lambda room: str(room.relative_to(ROOT)))
def test_the_tree_has_every_room_with_its_docstring(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    summary = docstring.split("\n\n")[0].replace("\n", " ")
    lines = re.findall(rf"^ *{room.name}/ +(.*)$", PAGE.read_text(), re.MULTILINE)
    assert summary in lines


def test_the_tree_has_no_other_rooms() -> None:
    (tree,) = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(tree.splitlines()) == len(rooms())


@pytest.mark.parametrize("page", [PAGE, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`((?:flows|handlers|deployments|tests|examples|docs)/[\w./-]+)`", page.read_text()))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
