"""Rooms and their doors: each package has a line that describes it, and others import what its door re-exports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in ("flows", "handlers", "deployments")
    for path in sorted((ROOT / top).rglob("*.py"))
    if "migrations" not in path.parts
}
PACKAGES = {name: path for name, path in FILES.items() if path.name == "__init__.py"}


def exported(package: str) -> list[str]:
    """The names in a package's `__all__`."""
    for node in ast.parse(PACKAGES[package].read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets):
            return list(ast.literal_eval(node.value))  # pyright: ignore[reportAttributeAccessIssue]
    raise LookupError(f"{package} has no __all__")


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Package or module, and name, of every import of our own in a module, also inside functions."""
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in FILES:
            yield from ((node.module, each.name) for each in node.names)
        elif isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names if each.name in FILES)


def is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_described_in_a_line_and_lists_its_exports(package: str) -> None:
    first, *rest = (ast.get_docstring(ast.parse(PACKAGES[package].read_text())) or "").split("\n")
    assert first.endswith(".")
    assert not rest or not rest[0], "details come after an empty line"
    assert len(exported(package)) == len(set(exported(package)))


@pytest.mark.parametrize("module", FILES)
def test_other_rooms_are_entered_by_their_doors(module: str) -> None:
    inner: list[str] = []
    for target, name in imports(module):
        room = target if target in PACKAGES else target.rpartition(".")[0]
        if "." not in room or is_inside(module, room) or not exported(room):
            continue
        if target != room or name not in exported(room):
            inner.append(f"{name} of {target} (the door is {room})")
    assert not inner
