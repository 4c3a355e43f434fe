"""Reads `sources.yaml`: the named sources, each with its index and promised freshness."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from deployments.setting_values import InvalidIndexName, InvalidSettings, index_name, read_duration
from deployments.settings import Settings
from flows.errors import InvalidPipeline, OrchestrationError, Problem, UnknownName, suggest
from flows.loaders import Position, YamlNode, read_yaml
from flows.model import FrozenModel

FILE = Path(__file__).parent / "sources.yaml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
Check = Callable[["NamedSource"], Iterable[tuple[tuple[str, ...], str]]]
"""A function that finds further problems of a source, each with the keys that lead to it."""


class SourceEntry(FrozenModel):
    """One source in `sources.yaml`."""

    place: str = Field(description="A path or a URL, as `braid ingest` takes it.")
    kind: str | None = Field(default=None, description="Its kind; without it, the scheme of the place decides.")
    index: str | None = Field(default=None, description="The index it is ingested into; default: its name.")
    options: dict[str, Any] = Field(
        default_factory=dict[str, Any], description="The options of its kind; secrets by reference, as env:NAME."
    )
    tags: dict[str, str | list[str]] | None = Field(default=None, description="Tags of all its documents.")
    pattern: str | None = Field(default=None, description="Which documents, as a glob.")
    exclude: list[str] | None = Field(default=None, description="Documents to leave out besides hidden ones, as globs.")
    ocr: str | None = Field(default=None, description="auto, always or never.")
    prune: bool | None = Field(default=None, description="Whether documents that are gone are removed from the index.")
    max_prune_share: float | None = Field(
        default=None, ge=0, le=1, description="The largest share of documents that may be removed at once."
    )
    schedule: dict[str, Any] | None = Field(default=None, description="When it is ingested, as in schedules.yaml.")
    fresh_within: Annotated[float | None, BeforeValidator(read_duration)] = Field(
        default=None, gt=0, description="How old the last successful ingestion may be, for example 6h."
    )
    max_set_aside_share: float | None = Field(
        default=None, ge=0, le=1, description="The share of documents set aside above which its automation fires."
    )
    notify: str | None = Field(
        default=None,
        pattern=r"[a-z0-9-]+/[a-z0-9-]+",
        description="A notification block of Prefect, as slack-webhook/alerts.",
    )
    priority: int = Field(default=0, ge=-10, le=10, description="Sources with a higher priority are ingested first.")


class NamedSource(FrozenModel):
    """A source with its name; defaults are filled in where the file has no value."""

    name: str
    entry: SourceEntry

    @property
    def index(self) -> str:
        return self.entry.index or self.name

    @property
    def kind(self) -> str:
        """Its kind.

        Raises:
            StorageError: no kind is for its place.
        """
        from handlers.sources import kind_of

        return self.entry.kind or kind_of(self.entry.place).name

    @property
    def root(self) -> str:
        """The canonical URI that identifies it in its index."""
        from handlers.sources import kind_named

        return kind_named(self.kind).canonical(self.entry.place)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of the pipeline `ingest` for it."""
        chosen = self.entry.model_dump(include={"tags", "pattern", "ocr", "prune", "max_prune_share"})
        given = {name: value for name, value in chosen.items() if value is not None}
        if self.entry.exclude:
            from handlers.sources import HIDDEN

            given["exclude"] = [*HIDDEN, *self.entry.exclude]
        return {"source": self.entry.place, **given}


def find_source(sources: Mapping[str, NamedSource], name: str) -> NamedSource:
    """The source of that name.

    Raises:
        UnknownName: there is none; the message suggests the nearest.
    """
    if name not in sources:
        raise UnknownName("source", name, sources, where="sources.yaml")
    return sources[name]


def source_lock(settings: Settings, name: str) -> Path:
    """The lock file of a source on this machine, for `braid watch` and scheduled ingestions."""
    return settings.home.absolute() / "locks" / f"source-{name}.lock"


def load_sources(settings: Settings, check: Check | None = None) -> dict[str, NamedSource]:
    """The sources of the settings by name; none if there is no file.

    Raises:
        InvalidPipeline: everything that is wrong with the file, in the order of its lines.
        InvalidSettings: the file of the setting does not exist.
    """
    path = settings.sources or FILE
    if settings.sources is not None and not path.is_file():
        raise InvalidSettings(f"BRAID_SOURCES names {path}, which is not a file")
    return read_sources(path.read_text(encoding="utf-8"), file=str(path), check=check) if path.exists() else {}


def read_sources(text: str, *, file: str, check: Check | None = None) -> dict[str, NamedSource]:
    """The sources in a text by name.

    Raises:
        InvalidPipeline: everything that is wrong with the text, in the order of its lines.
    """
    document = read_yaml(text, file=file)
    problems = list(document.problems)
    root = document.root or YamlNode(1, 1, entries={})
    if root.entries is None:
        raise InvalidPipeline([*problems, Problem(file, *root.position, "bad-value", _SHAPE)])
    found: dict[str, NamedSource] = {}
    for name, node in root.entries.items():
        if not _NAME.fullmatch(str(name)):
            message = f"{name!r} cannot name a source; use letters, digits, '-' and '_'"
            problems.append(Problem(file, *root.key_position(name), "bad-name", message))
        entry, complaints = _readable(node, file)
        problems += complaints
        if entry is None:
            continue
        source = found[str(name)] = NamedSource(name=str(name), entry=entry)
        for keys, message in [*_problems(source), *(check(source) if check is not None else ())]:
            problems.append(Problem(file, *_position(node, keys), "bad-source", message))
    problems += _clashes(found, root, file)
    if problems:
        raise InvalidPipeline(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return found


def _readable(node: YamlNode, file: str) -> tuple[SourceEntry | None, list[Problem]]:
    """The source without invalid values, and a problem for each invalid value."""
    data: Any = node.data()
    try:
        return SourceEntry.model_validate(data), []
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
    problems = [Problem(file, *_position(node, each["loc"]), "bad-value", _complaint(each)) for each in errors]
    wrong = {each["loc"][0] for each in errors if each["loc"]}
    if not isinstance(data, dict) or "place" in wrong:
        return None, problems
    rest = {key: value for key, value in data.items() if key not in wrong}  # pyright: ignore[reportUnknownVariableType]
    return SourceEntry.model_validate(rest), problems


_SHAPE = "sources are a mapping from the name of a source to its place, its index and so on"


def _problems(source: NamedSource) -> Iterable[tuple[tuple[str, ...], str]]:
    from flows.storage import glob_filter
    from handlers.sources import kind_named
    from handlers.tags import InvalidTag, check_tags

    entry = source.entry
    try:
        kind = kind_named(source.kind)
        _ = source.root
    except OrchestrationError as error:
        yield ("kind" if entry.kind else "place",), str(error)
    else:
        for option, message in kind.check(entry.options)[1].items():
            yield ("options", option), message
    try:
        index_name(source.index)
    except InvalidIndexName as error:
        yield ("index",), str(error)
    try:
        check_tags(entry.tags or {})
    except InvalidTag as error:
        yield ("tags",), str(error)
    if entry.ocr not in (None, "auto", "always", "never"):
        yield ("ocr",), f"ocr: {entry.ocr!r} is not one of auto, always, never"
    for key, globs in (("pattern", [entry.pattern or "**/*"]), ("exclude", entry.exclude or [])):
        for glob in globs:
            try:
                glob_filter(glob)
            except OrchestrationError as error:
                yield (key,), str(error)


def _clashes(found: Mapping[str, NamedSource], root: YamlNode, file: str) -> Iterable[Problem]:
    """Problems of sources with the same place: their options must be equal, and an index must not have one twice."""
    by_root: dict[str, NamedSource] = {}
    taken: dict[tuple[str, str, str], str] = {}
    for name, source in found.items():
        try:
            place = source.root
        except OrchestrationError:
            continue
        other = by_root.setdefault(place, source)
        at = root.key_position(name)
        if (other.entry.options, other.kind) != (source.entry.options, source.kind):
            yield Problem(file, *at, "clash", f"{name!r} has the place of {other.name!r} with other options")
        key = (source.index, place, source.entry.pattern or "**/*")
        if taken.setdefault(key, name) != name:
            yield Problem(file, *at, "clash", f"{name!r} has the place, pattern and index of {taken[key]!r}")


def _complaint(error: Any) -> str:
    location = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"unknown key {location[-1]!r}{suggest(str(location[-1]), list(SourceEntry.model_fields))}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{'.'.join(map(str, location))}: {message}" if location else message


def _position(node: YamlNode, location: Iterable[int | str]) -> Position:
    """The position of a value in the document: that of its key, or of the nearest key above it."""
    position = node.position
    for part in location:
        if node.entries is None or part not in node.entries:
            break
        position, node = node.key_position(part), node.entries[part]
    return position
