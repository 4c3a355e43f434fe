"""Fields of an options object that a function takes are separate options of the step."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import pytest

from flows.author import Call, Registry, handler
from handlers.options import Options, spread


@dataclass(frozen=True)
class Box(Options):
    width: int
    height: int = 2
    labels: list[str] = field(default_factory=list)


@spread
def packed(text: str, padding: int = 0, *, box: Box, sealed: bool = False, call: Call) -> Any:
    """How a text is packed."""
    return text, padding, box, sealed


def test_a_caller_names_each_option() -> None:
    call = Call()
    assert packed("a", width=3, call=call) == ("a", 0, Box(3), False)
    assert packed("a", 1, width=3, height=4, labels=["x"], sealed=True, call=call) == ("a", 1, Box(3, 4, ["x"]), True)
    with pytest.raises(TypeError, match="'width'"):
        packed("a", call=call)
    with pytest.raises(TypeError, match="depth"):
        packed("a", width=3, depth=1, call=call)


def test_a_step_has_each_option_with_its_type_and_default() -> None:
    registry = Registry()
    handler(packed, writes="packed", registry=registry)
    spec = registry.get("packed")
    assert [read.name for read in spec.reads or ()] == ["text", "padding"]
    assert {name: (each.annotation, each.is_required()) for name, each in spec.options.model_fields.items()} == {
        "width": (int, True),
        "height": (int, False),
        "labels": (list[str], False),
        "sealed": (bool, False),
    }
    assert (spec.call_parameter, spec.summary) == ("call", "How a text is packed.")
    assert inspect.signature(packed).parameters["height"].default == 2
