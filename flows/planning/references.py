"""References, `@payload.x`, `@ctx.x`, `@run.STEP.x` and `@item.x`, become templates when a step is planned.

A reference must name something that exists: a parameter, a field, a field that an earlier step writes, or the item of
the enclosing loop. Any other reference is refused, so a reference always has a value. `@run.STEP.x` is the field that
STEP writes under the name x; if STEP writes only one field, it may also be the x inside that field.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias, cast

from flows.errors import suggest
from flows.planning.plan import Access

ROOTS = ("payload", "ctx", "run", "item")
_REFERENCE = re.compile(r"@(payload|ctx|run|item|self)(?=[.\[]|$)(.*)", re.DOTALL)
_PART = re.compile(r"\.([A-Za-z_]\w*)|\[(\d+)\]")
_MISSPELT = re.compile(rf"@(\w+)((?:{_PART.pattern})+)")
Target: TypeAlias = tuple[str, tuple[str | int, ...]]
"""A field, and the path inside its value."""


class UnknownReference(Exception):
    """A reference that names nothing; the message lists the existing names."""


@dataclass
class ReferenceScope:
    """The names that a reference can use in one step of a pipeline."""

    parameters: frozenset[str]
    items: list[str] = field(default_factory=list[str])
    """The item names of the enclosing loops, the innermost last."""
    steps: dict[str, tuple[Mapping[str, str], Access]] = field(
        default_factory=dict[str, "tuple[Mapping[str, str], Access]"]
    )
    """For each earlier step, its declared writes with their fields, and its access."""

    def resolved(self, value: Any) -> Any:
        """`value` with its references turned into templates.

        Raises:
            UnknownReference: a reference names nothing.
        """
        if isinstance(value, str):
            target = self.target(value)
            if target is None:
                return value
            field_name, parts = target
            return "{{ " + field_name + "".join(f"[{_subscript(part)}]" for part in parts) + " }}"
        if isinstance(value, Mapping):
            return {key: self.resolved(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list):
            return [self.resolved(item) for item in cast("list[Any]", value)]
        if isinstance(value, tuple):
            return tuple(self.resolved(item) for item in cast("tuple[Any, ...]", value))
        return value

    def dotted(self, path: str) -> str:
        """A dotted path to a field; a reference is turned into one.

        Raises:
            UnknownReference: it names nothing.
        """
        target = self.target(path)
        return path if target is None else ".".join(map(str, (target[0], *target[1])))

    def target(self, text: str) -> Target | None:
        """The target of a reference; None if the text is no reference.

        Raises:
            UnknownReference: it names nothing.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            misspelt = _MISSPELT.fullmatch(text)
            close = get_close_matches(misspelt[1], ROOTS, n=1) if misspelt else []
            if misspelt and close:
                raise UnknownReference(f"{text!r} refers to nothing; did you mean '@{close[0]}{misspelt[2]}'?")
            return None
        root, rest = found[1], found[2]
        parts: list[str | int] = [name if name else int(index) for name, index in _PART.findall(rest)]
        if "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts) != rest:
            raise UnknownReference(
                f"{text!r} is not a reference; write names and positions, such as '@run.step.items[0].id'"
            )
        return self._target(text, root, parts)

    def _target(self, text: str, root: str, parts: list[str | int]) -> Target:
        match root:
            case "item":
                if not self.items:
                    raise UnknownReference(f"{text!r} is outside of a for_each; an item exists only inside one")
                return self.items[-1], tuple(parts)
            case "self":
                raise UnknownReference(
                    f"{text!r}: a step cannot refer to itself; name a parameter with '@payload.NAME'"
                )
            case _:
                pass
        if not parts or not isinstance(parts[0], str):
            raise UnknownReference(f"{text!r} names nothing; write '@{root}.NAME'")
        if root == "run":
            return self._written_target(text, parts[0], parts[1:])
        if root == "payload" and parts[0] not in self.parameters:
            known = sorted(self.parameters)
            hint = suggest(parts[0], known) if known else "; the pipeline declares no parameters"
            raise UnknownReference(f"{text!r}: no parameter is named {parts[0]!r}{hint}")
        return parts[0], tuple(parts[1:])

    def _written_target(self, text: str, step: str, parts: list[str | int]) -> Target:
        if step not in self.steps:
            hint = suggest(step, list(self.steps)) if self.steps else "; no step is before it"
            raise UnknownReference(f"{text!r}: no step before it is named {step!r}{hint}")
        declared, access = self.steps[step]
        name = parts[0] if parts and isinstance(parts[0], str) else None
        if name is not None and name in declared:
            return declared[name], tuple(parts[1:])
        writes = sorted(access.writes)
        if name is not None and (name in writes or (not access.known and not writes)):
            return name, tuple(parts[1:])
        if len(writes) == 1:
            return writes[0], tuple(parts)
        if not writes:
            raise UnknownReference(f"{text!r}: {step!r} declares no writes")
        if name is None:
            raise UnknownReference(f"{text!r}: {step!r} writes {', '.join(writes)}; name one of them")
        raise UnknownReference(f"{text!r}: {step!r} does not write {name!r}{suggest(name, writes)}")


def _subscript(part: str | int) -> str:
    return str(part) if isinstance(part, int) else f'"{part}"'
