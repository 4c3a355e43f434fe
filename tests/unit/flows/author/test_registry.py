"""Handlers: what a signature says, and how they are found."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.author import Call, Registry, handler, load_modules
from flows.errors import DuplicateName, UnknownHandler
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
    assert (spec.writes, spec.effects, spec.declared, spec.version) == (("word_counts",), (), True, "3")
    assert (spec.call_parameter, spec.takes_context, spec.summary) == ("call", False, "Count words. More.")


@pytest.mark.parametrize(
    ("declared", "known"), [({}, False), ({"effects": "index"}, True), ({"writes": "x"}, True), ({"effects": ()}, True)]
)
def test_only_what_is_declared_counts_as_known(declared: dict, known: bool) -> None:
    made = Registry()

    @handler(registry=made, **declared)
    def work(value: int) -> int:
        return value

    assert made.get("work").declared is known


def test_a_handler_that_takes_the_context_is_known_only_with_reads_and_writes() -> None:
    made = Registry()

    @handler(registry=made, reads=["a"], writes=["b"])
    def declared(context: Context) -> None: ...

    @handler(registry=made)
    def open_ended(context: Context) -> None: ...

    assert (made.get("declared").declared, made.get("open_ended").declared) == (True, False)


def test_two_functions_cannot_share_a_name_but_one_can_be_reloaded() -> None:
    made = Registry()

    def define() -> None:
        @handler(registry=made, name="work")
        def work() -> None: ...

    define()
    define()
    with pytest.raises(DuplicateName, match=r"two handlers are named 'work': .* give one another name"):

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


def test_signatures_that_cannot_be_understood_are_refused() -> None:
    with pytest.raises(TypeError, match="name its reads and options one by one"):

        @handler(registry=Registry())
        def anything(*things: int) -> None: ...


def test_a_module_and_every_module_in_a_package_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "team_handlers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text(
        "from flows import handler\n\n@handler(name='team_words', writes='n')\ndef team_words(text): return len(text)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    load_modules(["team_handlers"])
    from flows.author import REGISTRY

    assert REGISTRY.handlers.pop("team_words").writes == ("n",)


def test_an_installed_distribution_offers_handlers_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "offered.py").write_text("from flows import handler\n\n@handler(name='offered')\ndef offered(): ...\n")
    info = tmp_path / "offered-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[braid.handlers]\noffered = offered\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from flows.author.registry import REGISTRY, load_entry_points\n"
        "load_entry_points(); print('offered' in REGISTRY.handlers)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "True"
