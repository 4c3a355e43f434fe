"""The context of a run: what its steps read and write, isolated branch by branch at the price of what they touch.

A branch gets `context.fork()`, which copies nothing. A value is copied when the branch first reads it, and only if
something in it could be changed; whatever the branch then does to its copy, however deep, shows up in its
`delta()` and nowhere else until that delta is applied.
"""

import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from flows.errors import FatalError, OrchestrationError
from flows.state.deltas import MISSING, Change, Delta, apply_change, diff
from flows.state.progress import Progress
from flows.state.services import Services
from flows.state.values import fingerprint, own

logger = logging.getLogger(__name__)

SECTIONS = ("data", "tags", "documents", "processed", "log")


@dataclass(frozen=True)
class EffectFingerprint:
    """What something rests on: a fingerprint of all that made it, and the handlers and steps among that."""

    fingerprint: str = ""
    steps: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Identity:
    """What never changes during a run and is shared by all branches."""

    pipeline: str = "pipeline"
    run_id: str = "run"
    index: str = "default"
    services: Services = field(default_factory=Services)
    effect_fingerprints: Mapping[str, EffectFingerprint] = field(default_factory=dict[str, EffectFingerprint])
    """What the effects of the run's pipeline rest on, see `flows.planning.fingerprints`."""
    resumes: str = ""
    """The run that this one goes on from, if any."""


class LogEntry(NamedTuple):
    """One line that a handler leaves in the run's record."""

    source: str
    message: str
    level: str = "info"


class UndeclaredAccess(FatalError, KeyError):
    """A handler touched a field that its declared reads or writes do not name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class _Cell(NamedTuple):
    value: Any
    immutable: bool


_GONE = _Cell(MISSING, True)


class Context:
    """Read-only identity and mutable state (`data`, `tags`, `documents`, `log`, processed marks) of one branch.

    A parent must not be written while forks of it are in use; the engine sees to that.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        identity: Identity | None = None,
        tags: Mapping[str, Any] | None = None,
        documents: Mapping[str, Any] | None = None,
    ) -> None:
        self.identity = identity or Identity()
        self.progress_view = Progress()
        self._parent: Context | None = None
        self._cells: dict[tuple[str, Any], _Cell] = {}
        self._touched: dict[tuple[str, Any], Any] = {}
        self._reads: frozenset[str] | None = None
        self._writes: frozenset[str] | None = None
        for section, values in (("data", data), ("tags", tags), ("documents", documents)):
            for key, value in (values or {}).items():
                self._cells[section, key] = _Cell(*own(value, place=f"{section}[{key!r}]"))

    # What handlers use.

    @property
    def index(self) -> str:
        return self.identity.index

    @property
    def pipeline_id(self) -> str:
        return self.identity.pipeline

    @property
    def execution_id(self) -> str:
        return self.identity.run_id

    @property
    def services(self) -> Services:
        return self.identity.services

    @property
    def data(self) -> MutableMapping[str, Any]:
        """The fields that steps read and write."""
        return _Section(self, "data")

    @property
    def tags(self) -> MutableMapping[str, Any]:
        return _Section(self, "tags")

    @property
    def documents(self) -> MutableMapping[str, Any]:
        """Documents by id; each is isolated and merged on its own."""
        return _Section(self, "documents")

    @property
    def results(self) -> list[Any]:
        """The field `results`, a list; branches' results are united by id unless another reducer is declared."""
        if "results" not in self.data:
            self.data["results"] = list[Any]()
        return cast("list[Any]", self.data["results"])

    @property
    def log_entries(self) -> tuple[LogEntry, ...]:
        return tuple(self._get(("log", "entries"), ()))

    def log(self, source: str, message: str, level: str = "info") -> None:
        """Leave a line in the run's record; branches' lines are joined in declared order."""
        entries = self._get(("log", "entries"), [])
        self._touched["log", "entries"] = [*entries, LogEntry(source, message, level)]

    def already_processed_by(self, handler: str, sub_step: str | None = None) -> bool:
        """Whether `mark_processed_by` was called for the same name before, in this run or the one it resumes."""
        return self._get(("processed", _mark(handler, sub_step)), False) is True

    def mark_processed_by(self, handler: str, sub_step: str | None = None) -> None:
        self._touched["processed", _mark(handler, sub_step)] = True

    # What the engine uses.

    def fork(self, *, reads: frozenset[str] | None = None, writes: frozenset[str] | None = None) -> "Context":
        """An isolated view of this context; copies nothing. `reads` and `writes` limit the data fields it may touch."""
        self._settle()
        branch = Context.__new__(Context)
        branch.identity, branch.progress_view = self.identity, self.progress_view
        branch._parent, branch._cells, branch._touched = self, {}, {}
        branch._reads, branch._writes = reads, writes
        return branch

    def delta(self) -> Delta:
        """What this branch changed since its fork, sections and keys in sorted order.

        Raises:
            UnsupportedValue: a field was given something that is not data.
        """
        self._settle()
        changes: list[Change] = []
        for place, cell in sorted(self._cells.items(), key=lambda item: (item[0][0], str(item[0][1]))):
            before = self._parent._cell(place) if self._parent else _GONE
            if before is not cell:
                found = diff(before.value, cell.value, place)
                changes.extend(replace(each, immutable=True) if cell.immutable else each for each in found)
        return tuple(changes)

    def apply(self, delta: Delta) -> None:
        """Make the changes of a delta here, in their order."""
        self._settle()
        for change in delta:
            place = (change.path[0], change.path[1])
            if change.immutable and change.kind == "set" and len(change.path) == 2:
                self._cells[place] = _Cell(change.value, True)
                continue
            cell = self._cell(place)
            value = cell.value if place in self._cells or cell.immutable else own(cell.value)[0]
            self._cells[place] = _cell(apply_change(value, change))

    def field_value(self, section: str, key: Any) -> Any:
        """The value at the fork or since, not to be changed, or `MISSING`."""
        place = (section, key)
        return self._touched[place] if place in self._touched else self._cell(place).value

    def fingerprint(self) -> str:
        """SHA-256 over all state; equal for equal state, whatever order it came about in."""
        return fingerprint({section: dict(_Section(self, section)) for section in SECTIONS})

    def _settle(self) -> None:
        """Take ownership of what handlers wrote or may have changed, so that nobody else holds on to it."""
        for place, value in self._touched.items():
            if value is MISSING:
                self._cells[place] = _GONE
            else:
                self._cells[place] = _Cell(*own(value, place=f"{place[0]}[{place[1]!r}]"))
        self._touched = {}

    def _cell(self, place: tuple[str, Any]) -> _Cell:
        context: Context | None = self
        while context is not None:
            cell = context._cells.get(place)
            if cell is not None:
                return cell
            context = context._parent
        return _GONE

    def _get(self, place: tuple[str, Any], default: Any) -> Any:
        if place in self._touched:
            value = self._touched[place]
            return default if value is MISSING else value
        cell = self._cell(place)
        if cell.value is MISSING:
            return default
        if cell.immutable:
            return cell.value
        mine = self._touched[place] = own(cell.value)[0]
        return mine

    def _set(self, place: tuple[str, Any], value: Any) -> None:
        if place[0] == "data" and self._writes is not None and place[1] not in self._writes:
            raise UndeclaredAccess(
                f"a handler wrote the field {place[1]!r}, which it does not declare; "
                f"add it to `writes` (declared are: {', '.join(sorted(self._writes)) or 'none'})"
            )
        self._touched[place] = value

    def _check_read(self, place: tuple[str, Any]) -> None:
        if (
            place[0] == "data"
            and self._reads is not None
            and place[1] not in self._reads | (self._writes or frozenset())
        ):
            raise UndeclaredAccess(
                f"a handler read the field {place[1]!r}, which it does not declare; "
                f"add it to `reads` (declared are: {', '.join(sorted(self._reads)) or 'none'})"
            )

    def _keys(self, section: str) -> list[Any]:
        chain: list[Context] = []
        context: Context | None = self
        while context is not None:
            chain.append(context)
            context = context._parent
        keys: dict[Any, bool] = {}
        for layer in reversed(chain):
            for (found, key), cell in layer._cells.items():
                if found == section:
                    keys[key] = cell.value is not MISSING
            for (found, key), value in layer._touched.items():
                if found == section:
                    keys[key] = value is not MISSING
        return [key for key, present in keys.items() if present]


class _Section(MutableMapping[Any, Any]):
    """One section of a context as a mapping."""

    def __init__(self, context: Context, section: str) -> None:
        self._context, self._section = context, section

    def __getitem__(self, key: Any) -> Any:
        place = (self._section, key)
        self._context._check_read(place)  # pyright: ignore[reportPrivateUsage]  (its other half)
        value = self._context._get(place, MISSING)  # pyright: ignore[reportPrivateUsage]
        if value is MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._context._set((self._section, key), value)  # pyright: ignore[reportPrivateUsage]

    def __delitem__(self, key: Any) -> None:
        if key not in self:
            raise KeyError(key)
        self._context._set((self._section, key), MISSING)  # pyright: ignore[reportPrivateUsage]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._context._keys(self._section))  # pyright: ignore[reportPrivateUsage]

    def __len__(self) -> int:
        return len(self._context._keys(self._section))  # pyright: ignore[reportPrivateUsage]

    def __contains__(self, key: object) -> bool:
        return self._context.field_value(self._section, key) is not MISSING

    def __repr__(self) -> str:
        return f"{self._section}({', '.join(map(repr, self))})"


def _cell(value: Any) -> _Cell:
    return _GONE if value is MISSING else _Cell(*own(value))


def _mark(handler: str, sub_step: str | None) -> str:
    return f"{handler}/{sub_step}".casefold() if sub_step else handler.casefold()


def read_path(context: Context, dotted: str) -> Any:
    """The value at `field` or `field.inner.0`; mapping keys, attributes and list positions, in that order.

    Raises:
        OrchestrationError: the path leads nowhere; the message names the part that is missing.
    """
    return follow_path(context.data, dotted)


def follow_path(data: Mapping[str, Any], dotted: str) -> Any:
    """The value at `field` or `field.inner.0` in a mapping of fields.

    Raises:
        OrchestrationError: as `read_path`.
    """
    head, *rest = dotted.split(".")
    value = data.get(head, MISSING)
    if value is MISSING:
        raise OrchestrationError(f"no field named {head!r} (needed for {dotted!r}); nothing has written it")
    for part in rest:
        if isinstance(value, Mapping) and part in value:
            value = value[part]  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(value, Sequence) and part.isdigit() and int(part) < len(value):  # pyright: ignore[reportUnknownArgumentType]
            value = value[int(part)]  # pyright: ignore[reportUnknownVariableType]
        elif hasattr(value, part) and not part.startswith("_"):  # pyright: ignore[reportUnknownArgumentType]
            value = getattr(value, part)  # pyright: ignore[reportUnknownArgumentType]
        else:
            raise OrchestrationError(f"{dotted!r} leads nowhere: there is no {part!r} in it")
    return value  # pyright: ignore[reportUnknownVariableType]
