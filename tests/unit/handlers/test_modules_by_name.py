"""The table of handlers and their modules is right, so that importing fewer of them changes nothing."""

import subprocess
import sys

import pytest

from flows.author import load_modules
from flows.author.registry import Registry
from handlers import modules_by_name
from handlers.modules_by_name import HANDLER_MODULES, unlisted_modules

_CHECK = """
from flows.author import REGISTRY, load_modules
load_modules(["handlers"])
print({name: spec.function.__module__ for name, spec in REGISTRY.handlers.items()})
"""


def test_the_table_has_every_handler_with_its_module() -> None:
    found = subprocess.run([sys.executable, "-c", _CHECK], capture_output=True, text=True, check=True)
    assert eval(found.stdout) == dict(HANDLER_MODULES)


def test_a_file_that_the_table_does_not_know_is_imported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "handlers.retrieval.searching" not in unlisted_modules()
    monkeypatch.setattr(modules_by_name, "_LISTED", modules_by_name._LISTED - {"retrieval.searching"})
    assert unlisted_modules() == ["handlers.retrieval.searching"]
    load_modules(unlisted_modules())


def test_a_name_that_is_offered_is_imported_when_it_is_asked_for() -> None:
    registry = Registry()
    registry.offer({"never": "no_such_module"})
    assert registry.find("other") is None
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        registry.find("never")
