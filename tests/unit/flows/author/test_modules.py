"""Errors in modules of handlers are reported at the author's own line, all at once."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.author import REGISTRY, HandlerSpec, UnusableModule, handler, load_modules
from flows.author.registry import Registry
from flows.errors import DuplicateName

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module that can be imported, in the working directory."""
    load_modules(["handlers"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(REGISTRY, "_known", dict(REGISTRY.handlers))

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\nraise ValueError('nope')\n", "broken_module.py:2: ValueError: nope"),
        ("def f(:\n    pass\n", "broken_module.py:1: SyntaxError: invalid syntax"),
        (
            "x = 1\nimport no_such_package\n",
            "broken_module.py:2: ModuleNotFoundError: No module named 'no_such_package'",
        ),
        ("import json\n\njson.loads('{')\n", "broken_module.py:3: JSONDecodeError: "),
        (
            "from flows import handler\n\n@handler(writs='x')\ndef f(a): ...\n",
            "broken_module.py:3: @handler has no option 'writs'",
        ),
        ("raise KeyError\n", "broken_module.py:1: KeyError"),
        ("import sys\nsys.exit(3)\n", "broken_module.py:2: the module ends the process with sys.exit(3)"),
    ],
)
def test_an_error_in_a_module_is_one_line_with_its_place(text: str, message: str, write: Write) -> None:
    with pytest.raises(UnusableModule) as refused:
        load_modules([write("broken_module", text)])
    assert str(refused.value).startswith(message)
    assert len(str(refused.value).splitlines()) == 1


def test_the_errors_of_all_modules_are_reported_at_once(write: Write) -> None:
    names = [write("broken_one", "1 / 0\n"), write("broken_two", "\nundefined\n")]
    with pytest.raises(UnusableModule) as refused:
        load_modules(names)
    assert re.findall(r"^\S+:\d+", str(refused.value), re.MULTILINE) == ["broken_one.py:1", "broken_two.py:2"]


def test_all_taken_names_are_reported_at_once_with_their_places(write: Write) -> None:
    text = "from flows import handler\n" + "".join(
        f"\n\n@handler\ndef {name}(text): ...\n" for name in ("extract_text", "own_name", "hybrid_merge", "rerank")
    )
    with pytest.raises(DuplicateName) as refused:
        load_modules([write("taken_names", text)])
    message = str(refused.value)
    assert re.findall(r"^'(\w+)': .* and taken_names", message, re.MULTILINE) == [
        "extract_text",
        "hybrid_merge",
        "rerank",
    ]
    assert "taken_names.py:4" in message
    assert "@handler(override=True)" in message


def test_a_handler_that_overrides_takes_the_place_of_another_in_any_order() -> None:
    def shipped(text: str) -> str:
        return text

    def own(text: str) -> str:
        return text

    def third(text: str) -> str:
        return text

    def made(*functions: Callable[..., object]) -> HandlerSpec:
        registry = Registry()
        for function in functions:
            handler(name="work", override=function is not shipped, registry=registry)(function)
        return registry.handlers["work"]

    assert made(shipped, own).function is own
    assert made(own, shipped).function is own
    with pytest.raises(DuplicateName, match="two handlers are named 'work'"):
        made(shipped, own, third)
