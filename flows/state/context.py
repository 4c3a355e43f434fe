"""The context of a run: the fields that its steps read and write, isolated for each branch.

A branch gets `context.fork()`, which copies nothing. A mutable value is copied when the branch first reads it. Changes
to the copy, at any depth, appear only in the branch's `delta()` until that delta is applied.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any, NamedTuple, cast

from flows.errors import FatalError, OrchestrationError
from flows.state.deltas import MISSING, Change, Delta, Field, Rewriting, diff
from flows.state.equality import fingerprint
from flows.state.progress import Progress
from flows.state.services import Services
from flows.state.values import IMMUTABLE, SHALLOW, Owned, own

logger = logging.getLogger(__name__)

SECTIONS = ("data", "tags", "documents", "processed", "log")


@dataclass(frozen=True)
class EffectFingerprint:
    """The fingerprint of an outside effect, which covers everything that it depends on, and the handlers and steps in
    it.
    """

    fingerprint: str = ""
    steps: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Identity:
    """The part of a context that never changes during a run and is shared by all branches."""

    pipeline: str = "pipeline"
    run_id: str = "run"
    index: str = "default"
    services: Services = dataclasses.field(default_factory=Services)
    effect_fingerprints: Mapping[str, EffectFingerprint] = dataclasses.field(
        default_factory=dict[str, EffectFingerprint]
    )
    """The fingerprints of the pipeline's outside effects, see `flows.planning.fingerprints`."""
    resumes: str = ""
    """The run that this run resumes, if any."""


class LogEntry(NamedTuple):
    """One line that a handler writes into the log of its context."""

    writer: str
    message: str
    level: str = "info"


class UndeclaredAccess(FatalError, KeyError):
    """A handler used a field that is not among its declared reads or writes."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


_GONE = Owned(MISSING, IMMUTABLE)


class Context:
    """Read-only identity and mutable state (`data`, `tags`, `documents`, `log`, processed marks) of one branch.

    A parent must not be written while its forks are in use; the engine ensures this.
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
        self._cells: dict[Field, Owned] = {}
        self._touched: dict[Field, Any] = {}
        """Values that handlers have read for change, or written; the context does not own them yet."""
        self._reads: frozenset[str] | None = None
        self._writes: frozenset[str] | None = None
        for section, values in (("data", data), ("tags", tags), ("documents", documents)):
            for key, value in (values or {}).items():
                self._cells[section, key] = own(value, where=f"{section}[{key!r}]")

    # For handlers.

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

    def log(self, writer: str, message: str, level: str = "info") -> None:
        """Write a line into the run's log immediately, and into `log_entries`, which are in the declared order of
        branches.
        """
        number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
        logging.getLogger(f"handlers.{writer}").log(number, "%s", message)
        entries = self._get(("log", "entries"), [])
        self._touched["log", "entries"] = [*entries, LogEntry(writer, message, level)]

    def already_processed_by(self, handler: str, sub_step: str | None = None) -> bool:
        """Whether `mark_processed_by` was called with the same names, in this run or in a run that it resumes."""
        return self._get(("processed", _processed_mark(handler, sub_step)), False) is True

    def mark_processed_by(self, handler: str, sub_step: str | None = None) -> None:
        self._touched["processed", _processed_mark(handler, sub_step)] = True

    # For the engine.

    @property
    def aside(self) -> dict[str, Any]:
        """The items that steps of this branch set aside, each with its first failure."""
        return {item: failures[0] for item, failures in _Section(self, "aside").items()}

    def set_aside(self, failures: Iterable[tuple[str, Any]]) -> None:
        """Record set-aside items with their failures for later steps."""
        self.apply(tuple(Change("append", ("aside", item), [failure]) for item, failure in failures))

    def fork(self, *, reads: frozenset[str] | None = None, writes: frozenset[str] | None = None) -> "Context":
        """An isolated view of this context; copies nothing. `reads` and `writes` limit the data fields it may use."""
        self._take_ownership()
        branch = Context.__new__(Context)
        branch.identity, branch.progress_view = self.identity, self.progress_view
        branch._parent, branch._cells, branch._touched = self, {}, {}
        branch._reads, branch._writes = reads, writes
        return branch

    def twin(self) -> "Context":
        """Another view of the same parent with the same changes as this one."""
        self._take_ownership()
        assert self._parent is not None, "only a view has a twin"
        twin = self._parent.fork(reads=self._reads, writes=self._writes)
        twin._cells = dict(self._cells)
        return twin

    def delta(self) -> Delta:
        """The changes of this branch since its fork, sections and keys in sorted order.

        Raises:
            UnsupportedValue: a field holds something that is not data.
        """
        self._take_ownership()
        changes: list[Change] = []
        for field, cell in sorted(self._cells.items(), key=lambda item: (item[0][0], str(item[0][1]))):
            before = self._parent._cell(field) if self._parent else _GONE
            if before is not cell:
                changes.extend(diff(before.value, cell.value, field, cell.mutability))
        return tuple(changes)

    def apply(self, delta: Delta) -> None:
        """Make the changes of a delta here, in their order."""
        self._take_ownership()
        rewritten: dict[Field, Rewriting] = {}
        for change in delta:
            field = (change.path[0], change.path[1])
            if field not in rewritten:
                rewritten[field] = Rewriting(self._cell(field))
            rewritten[field].apply(change)
        self._cells.update((field, one.result()) for field, one in rewritten.items())

    def field_value(self, section: str, key: Any) -> Any:
        """The current value of a field, or `MISSING`; the caller must not change it."""
        field = (section, key)
        return self._touched[field] if field in self._touched else self._cell(field).value

    def owned_field(self, name: str) -> Owned | None:
        """The current value of a data field without a copy; None if there is none."""
        self._take_ownership()
        cell = self._cell(("data", name))
        return None if cell.value is MISSING else cell

    @property
    def present(self) -> Mapping[str, Any]:
        """The data fields for reading only: nothing is copied, and the caller must not change them."""
        return _Present(self)

    def fingerprint(self) -> str:
        """SHA-256 over all state; equal for equal state, in any order of writing."""
        return fingerprint({section: dict(_Section(self, section)) for section in SECTIONS})

    def _take_ownership(self) -> None:
        """Copy the values that handlers wrote or may have changed, so that no handler can change them later."""
        if not self._touched:
            return
        for field, value in self._touched.items():
            if value is MISSING:
                self._cells[field] = _GONE
            elif not _is_unchanged(value, self._cell(field)):
                self._cells[field] = own(value, where=f"{field[0]}[{field[1]!r}]")
        self._touched = {}

    def _cell(self, field: Field) -> Owned:
        context: Context | None = self
        while context is not None:
            cell = context._cells.get(field)
            if cell is not None:
                return cell
            context = context._parent
        return _GONE

    def _get(self, field: Field, default: Any) -> Any:
        if field in self._touched:
            value = self._touched[field]
            return default if value is MISSING else value
        cell = self._cell(field)
        if cell.value is MISSING:
            return default
        if cell.mutability == IMMUTABLE:
            return cell.value
        mine = self._touched[field] = cell.copy()
        return mine

    def _set(self, field: Field, value: Any) -> None:
        section, key = field
        if section == "data" and self._writes is not None and key not in self._writes:
            raise UndeclaredAccess(
                f"a handler wrote the field {key!r}, which it does not declare; "
                f"add it to `writes` (declared are: {', '.join(sorted(self._writes)) or 'none'})"
            )
        self._touched[field] = value

    def _check_read(self, field: Field) -> None:
        section, key = field
        if section == "data" and self._reads is not None and key not in self._reads | (self._writes or frozenset()):
            raise UndeclaredAccess(
                f"a handler read the field {key!r}, which it does not declare; "
                f"add it to `reads` (declared are: {', '.join(sorted(self._reads)) or 'none'})"
            )

    def _section_keys(self, section: str) -> list[Any]:
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
        field = (self._section, key)
        self._context._check_read(field)  # pyright: ignore[reportPrivateUsage]  (its other half)
        value = self._context._get(field, MISSING)  # pyright: ignore[reportPrivateUsage]
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
        return iter(self._context._section_keys(self._section))  # pyright: ignore[reportPrivateUsage]

    def __len__(self) -> int:
        return len(self._context._section_keys(self._section))  # pyright: ignore[reportPrivateUsage]

    def __contains__(self, key: object) -> bool:
        return self._context.field_value(self._section, key) is not MISSING

    def __repr__(self) -> str:
        return f"{self._section}({', '.join(map(repr, self))})"


class _Present(Mapping[str, Any]):
    """The data fields of a context, read-only and without copies."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __getitem__(self, key: str) -> Any:
        value = self._context.field_value("data", key)
        if value is MISSING:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._context.data)

    def __len__(self) -> int:
        return len(self._context.data)


def _is_unchanged(value: Any, cell: Owned) -> bool:
    """Whether a copy of a container of immutable items still has these items, in their order."""
    known = cell.value
    if cell.mutability != SHALLOW or type(value) is not type(known) or len(value) != len(known):
        return False
    if isinstance(value, dict):
        return all(map(is_, value, known)) and all(map(is_, value.values(), known.values()))  # pyright: ignore[reportUnknownArgumentType]
    return isinstance(value, list) and all(map(is_, value, known))  # pyright: ignore[reportUnknownArgumentType]


def _processed_mark(handler: str, sub_step: str | None) -> str:
    return f"{handler}/{sub_step}".casefold() if sub_step else handler.casefold()


def read_path(context: Context, dotted: str) -> Any:
    """The value at `field` or `field.inner.0`: each part is a mapping key, else a list index, else an attribute.

    It is not copied; the caller must not change it.

    Raises:
        OrchestrationError: there is no such value; the message names the missing part.
    """
    return follow_path(context.present, dotted)


def follow_path(data: Mapping[str, Any], dotted: str) -> Any:
    """The value at `field` or `field.inner.0` in a mapping of fields.

    Raises:
        OrchestrationError: there is no such value; the message names the missing part.
    """
    head, *rest = dotted.split(".")
    value = data.get(head, MISSING)
    if value is MISSING:
        raise OrchestrationError(f"no field named {head!r} (needed for {dotted!r}); no step has written it")
    for part in rest:
        if isinstance(value, Mapping) and part in value:
            value = value[part]  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(value, Sequence) and part.isdigit() and int(part) < len(value):  # pyright: ignore[reportUnknownArgumentType]
            value = value[int(part)]  # pyright: ignore[reportUnknownVariableType]
        elif hasattr(value, part) and not part.startswith("_"):  # pyright: ignore[reportUnknownArgumentType]
            value = getattr(value, part)  # pyright: ignore[reportUnknownArgumentType]
        else:
            raise OrchestrationError(f"{dotted!r} does not exist: there is no {part!r} in it")
    return value  # pyright: ignore[reportUnknownVariableType]
