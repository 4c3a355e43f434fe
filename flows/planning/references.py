"""References, `@payload.x`, `@ctx.x`, `@run.STEP.x` and `@item.x`, turned into templates when a step is planned.

What a reference names must be there: a parameter, a field, what an earlier step writes, the item of the loop around.
One that names nothing is refused; none is ever empty. `@run.STEP.x` is what STEP writes under the name x, or, where it
writes only one thing, the x in that.
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
"""A field, and the way into its value."""


class NoSuchReference(Exception):
    """A reference that names nothing; the message says what there is."""


@dataclass
class Names:
    """What references at one place of a pipeline can name."""

    parameters: frozenset[str]
    items: list[str] = field(default_factory=list[str])
    """The item names of the loops around, the innermost last."""
    steps: dict[str, tuple[Mapping[str, str], Access]] = field(
        default_factory=dict[str, "tuple[Mapping[str, str], Access]"]
    )
    """Step: what it declares to write, each with its field, and its access."""

    def resolved(self, value: Any) -> Any:
        """`value` with its references as templates.

        Raises:
            NoSuchReference: one names nothing.
        """
        if isinstance(value, str):
            target = self.target(value)
            return (
                value if target is None else "{{ " + target[0] + "".join(f"[{_quoted(p)}]" for p in target[1]) + " }}"
            )
        if isinstance(value, Mapping):
            return {key: self.resolved(item) for key, item in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list):
            return [self.resolved(item) for item in cast("list[Any]", value)]
        if isinstance(value, tuple):
            return tuple(self.resolved(item) for item in cast("tuple[Any, ...]", value))
        return value

    def dotted(self, path: str) -> str:
        """A dotted path with its reference, if it is one, as a field.

        Raises:
            NoSuchReference: it names nothing.
        """
        target = self.target(path)
        return path if target is None else ".".join(map(str, (target[0], *target[1])))

    def target(self, text: str) -> Target | None:
        """What a text refers to; None if it is no reference.

        Raises:
            NoSuchReference: it names nothing.
        """
        found = _REFERENCE.fullmatch(text)
        if found is None:
            misspelt = _MISSPELT.fullmatch(text)
            close = get_close_matches(misspelt[1], ROOTS, n=1) if misspelt else []
            if misspelt and close:
                raise NoSuchReference(f"{text!r} refers to nothing; did you mean '@{close[0]}{misspelt[2]}'?")
            return None
        root, rest = found[1], found[2]
        parts: list[str | int] = [name if name else int(index) for name, index in _PART.findall(rest)]
        if "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts) != rest:
            raise NoSuchReference(
                f"{text!r} is no reference; write names and positions, such as '@run.step.items[0].id'"
            )
        return self._target(text, root, parts)

    def _target(self, text: str, root: str, parts: list[str | int]) -> Target:
        match root:
            case "item":
                if not self.items:
                    raise NoSuchReference(f"{text!r} stands outside of a for_each; only there is an item")
                return self.items[-1], tuple(parts)
            case "self":
                raise NoSuchReference(f"{text!r}: a step cannot refer to itself; name a parameter with '@payload.NAME'")
            case _:
                pass
        if not parts or not isinstance(parts[0], str):
            raise NoSuchReference(f"{text!r} names nothing; write '@{root}.NAME'")
        if root == "run":
            return self._written(text, parts[0], parts[1:])
        if root == "payload" and parts[0] not in self.parameters:
            known = sorted(self.parameters)
            hint = suggest(parts[0], known) if known else "; the pipeline declares no parameters"
            raise NoSuchReference(f"{text!r}: no parameter is named {parts[0]!r}{hint}")
        return parts[0], tuple(parts[1:])

    def _written(self, text: str, step: str, parts: list[str | int]) -> Target:
        if step not in self.steps:
            hint = suggest(step, list(self.steps)) if self.steps else "; no step is before it"
            raise NoSuchReference(f"{text!r}: no step before it is named {step!r}{hint}")
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
            raise NoSuchReference(f"{text!r}: {step!r} declares no writes")
        if name is None:
            raise NoSuchReference(f"{text!r}: {step!r} writes {', '.join(writes)}; name one of them")
        raise NoSuchReference(f"{text!r}: {step!r} writes no {name!r}{suggest(name, writes)}")


def _quoted(part: str | int) -> str:
    return str(part) if isinstance(part, int) else f'"{part}"'
