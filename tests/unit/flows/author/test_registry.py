"""Handlers: derived from signatures, and found by name."""

import functools
import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.author import (
    REGISTRY,
    Call,
    FatalFailure,
    Registry,
    Success,
    TransientFailure,
    handler,
    load_modules,
)
from flows.errors import DuplicateName, InvalidHandler, UnknownHandler
from flows.state import Context
from tests.support.paths import ROOT


def test_the_signature_says_what_is_read_what_is_an_option_and_what_is_written() -> None:
    made = Registry()

    @handler(registry=made, writes="word_counts", version="3")
    def count_words(
        chunks: Sequence[str], stop: Sequence[str] = (), *, lowercase: bool = True, call: Call
    ) -> dict[str, int]:
        """Count words. More."""
        return {}

    spec = made.get("count_words")
    assert [(read.name, read.required) for read in spec.reads or ()] == [("chunks", True), ("stop", False)]
    assert list(spec.options.model_fields) == ["lowercase"]
    assert (spec.writes, spec.effects, spec.version) == (("word_counts",), (), "3")
    assert (spec.call_parameter, spec.takes_context, spec.summary) == ("call", False, "Count words. More.")


@pytest.mark.parametrize(
    ("declared", "effects"),
    [
        ({}, None),
        ({"effects": "index"}, ("index",)),
        ({"writes": "x"}, ()),
        ({"effects": ()}, ()),
        ({"writes": ()}, None),
    ],
)
def test_effects_are_known_where_effects_or_writes_are_declared(declared: dict, effects: tuple | None) -> None:
    made = Registry()

    @handler(registry=made, **declared)
    def work(value: int) -> int:
        return value

    assert made.get("work").effects == effects


def test_a_handler_that_takes_the_context_reads_and_writes_what_it_declares() -> None:
    made = Registry()

    @handler(registry=made, reads=["a"], writes=["b"])
    def declared(context: Context) -> None: ...

    @handler(registry=made)
    def open_ended(context: Context) -> int:
        return 1

    assert ([read.name for read in made.get("declared").reads or ()], made.get("declared").writes) == (["a"], ("b",))
    assert (made.get("open_ended").reads, made.get("open_ended").writes) == (None, None)


@pytest.mark.parametrize(
    ("returns", "writes", "optional"),
    [
        (int, ("work",), False),
        (int | None, ("work",), False),
        (int | TransientFailure, ("work",), False),
        (None, (), False),
        (FatalFailure | None, (), False),
        (Any, ("work",), True),
        (Success | TransientFailure, ("work",), True),
    ],
)
def test_a_handler_that_declares_no_writes_writes_what_it_returns_under_its_own_name(
    returns: Any, writes: tuple[str, ...], optional: bool
) -> None:
    def work(value: int) -> Any:
        return value

    work.__annotations__["return"] = returns
    made = Registry()
    handler(work, registry=made)
    assert (made.get("work").writes, made.get("work").optional_write) == (writes, optional)


def _gives_a_number(x):
    return x + 1


def _gives_a_number_sometimes(x):
    if x:
        return x or None
    return None


def _gives_nothing(x):
    if x:
        return
    x.append(1)
    return


async def _waits_and_gives_nothing(x):
    await x


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        (_gives_a_number, ("work",)),
        (_gives_a_number_sometimes, ("work",)),
        (_gives_nothing, ()),
        (_waits_and_gives_nothing, ()),
        (functools.wraps(_gives_nothing)(lambda x: _gives_a_number(x)), ("work",)),
    ],
)
def test_without_annotations_the_code_says_whether_a_function_may_return_something(
    function: Any, writes: tuple[str, ...]
) -> None:
    made = Registry()
    handler(function, registry=made, name="work")
    assert made.get("work").writes == writes


def test_several_writes_and_none_at_all_can_be_declared() -> None:
    made = Registry()

    @handler(registry=made, writes=["a", "b"], name="two")
    def work(value: int) -> dict[str, int]:
        return {"a": value, "b": value}

    handler(work, registry=made, writes=(), name="none")
    assert (made.get("two").writes, made.get("none").writes) == (("a", "b"), ())


def test_the_function_stays_as_it_is() -> None:
    def double(x: int) -> int:
        return 2 * x

    assert handler(double, registry=Registry()) is double
    assert handler(registry=Registry())(double) is double
    assert double(2) == 4


def test_two_functions_cannot_share_a_name_but_one_can_be_reloaded() -> None:
    made = Registry()

    def define() -> None:
        @handler(registry=made, name="work")
        def work() -> None: ...

    define()
    define()
    with pytest.raises(DuplicateName, match=r"two handlers are named 'work': .* rename one with"):

        @handler(registry=made, name="work")
        def other() -> None: ...


def test_an_unknown_handler_is_named_with_the_nearest() -> None:
    made = Registry()

    @handler(registry=made)
    def embed_dense() -> None: ...

    with pytest.raises(
        UnknownHandler, match=r"x.yaml:6:9: no handler named 'embed_dens'; did you mean 'embed_dense'\?"
    ):
        made.get("embed_dens", where="x.yaml:6:9")


def test_known_handlers_are_listed_once_each() -> None:
    made = Registry()

    @handler(registry=made)
    def embed_dense() -> None: ...

    made.offer({"embed_dense": __name__, "store": __name__})
    with pytest.raises(UnknownHandler, match=r"known are: embed_dense, store$"):
        made.get("quite_another")


def _takes_stars(*things: int) -> None: ...


def _takes_context_and_more(context: Context, more: int) -> None: ...


def _names_what_is_not_there(things: "Sequence[Absent]") -> None: ...  # noqa: F821  # pyright: ignore


def _yields(text: str):
    yield text


async def _yields_later(text: str):
    yield text


class _Steps:
    def method(self, text: str) -> str:
        return text

    @classmethod
    def of_the_class(cls, text: str) -> str:
        return text

    def __call__(self, text: str) -> str:
        return text


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_takes_stars, "takes *args or **kwargs; name its reads and options one by one"),
        (_takes_context_and_more, "takes a Context and more positional parameters; make them keyword-only"),
        (_names_what_is_not_there, "name 'Absent', which is not known when the module is imported"),
        (_yields, "the generator '_yields' cannot be a handler: no context can hold a generator; return a list"),
        (_yields_later, "the generator '_yields_later' cannot be a handler"),
        (_Steps, "the class '_Steps' cannot be a handler; write a function at module level"),
        (_Steps.method, "the method '_Steps.method' cannot be a handler; write a function at module level"),
        (_Steps().method, "the method '_Steps.method' cannot be a handler"),
        (_Steps.of_the_class, "the method '_Steps.of_the_class' cannot be a handler"),
        (_Steps.__dict__["of_the_class"], "the method '_Steps.of_the_class' cannot be a handler"),
        (_Steps(), "(_Steps) is not a function and cannot be a handler; write a function at module level"),
        (
            lambda text: text,
            "a lambda cannot be a handler: it has no name by which a step could call it; write it with def",
        ),
        (functools.partial(_takes_stars, 1), "a partial of '_takes_stars' cannot be a handler; write a function with"),
        ("word_counts", "to name the handler, write @handler(name='word_counts')"),
        (3, "3 (int) is not a function and cannot be a handler"),
        (len, "len (builtin_function_or_method) is not a Python function and cannot be a handler"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_when_it_is_declared(function: Any, message: str) -> None:
    registry = Registry()
    with pytest.raises(InvalidHandler, match=re.escape(message)) as refused:
        handler(function, registry=registry)
    assert isinstance(refused.value, TypeError)
    assert "\n" not in str(refused.value)
    assert not registry.handlers


def test_a_method_is_refused_while_its_class_is_being_made() -> None:
    with pytest.raises(InvalidHandler, match=r"the method 'Steps.count' cannot be a handler"):

        class Steps:
            @handler(registry=Registry())
            def count(self, text: str) -> int:
                return len(text)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"write": "x"}, "@handler has no option 'write'; did you mean 'writes'?"),
        ({"isolation": "proces"}, "@handler(isolation='proces'): write 'thread' or 'process'"),
    ],
)
def test_a_misspelt_declaration_is_refused(declared: Any, message: str) -> None:
    with pytest.raises(InvalidHandler, match=re.escape(message)):
        handler(_takes_context_and_more, registry=Registry(), **declared)


def test_a_file_that_is_imported_twice_defines_its_handlers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "once_again.py").write_text(
        "from flows import handler\n\n@handler\ndef once_again(text: str) -> str: return text\n"
    )
    for name in ("once_again", "__loader_of_once_again__"):
        spec = importlib.util.spec_from_file_location(name, tmp_path / "once_again.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
    assert REGISTRY.handlers.pop("once_again").function.__module__ == "__loader_of_once_again__"


def test_a_module_and_every_module_in_a_package_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "team_handlers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text(
        "from flows import handler\n\n@handler(name='team_words', writes='n')\ndef team_words(text): return len(text)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    load_modules(["team_handlers"])
    assert REGISTRY.handlers.pop("team_words").writes == ("n",)


def test_an_installed_distribution_offers_handlers_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "offered.py").write_text("from flows import handler\n\n@handler(name='offered')\ndef offered(): ...\n")
    info = tmp_path / "offered-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[braid.handlers]\noffered = offered\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from flows.author import REGISTRY, load_entry_points\n"
        "load_entry_points(); print('offered' in REGISTRY.handlers)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "True"


def test_a_handler_with_the_name_of_an_offered_one_clashes_with_it() -> None:
    script = (
        "from flows.author import REGISTRY, handler\n"
        "from flows.errors import DuplicateName\n"
        "REGISTRY.offer({'filter_access': 'handlers.retrieval.merging'})\n"
        "try:\n"
        "    @handler(name='filter_access', writes='x')\n"
        "    def own(hits: list) -> list: ...\n"
        "except DuplicateName as error:\n"
        "    print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "two handlers are named 'filter_access'" in found.stdout
