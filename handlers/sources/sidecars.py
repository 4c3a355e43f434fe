"""Tags in files beside the documents: `report.pdf.tags.yaml` for one file, `.tags.yaml` for a folder and its
subfolders.

A folder's file maps tags to a value or values, for all files in the folder and its subfolders. Its key `rules` may list
mappings with `match` (a glob against the path below the folder) and `tags` for the matching files. The most specific
value of a tag counts: the file's own before rules, rules before the folder's, inner folders before outer ones, and all
of these before the tags of the whole ingestion.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ruamel.yaml import YAML, YAMLError

from flows.storage import glob_filter
from handlers.tags import InvalidTag, check_tags

SIDECARS = (".tags.yaml", ".tags.yml")
"""Names of the files that tag folders; the endings of those that tag a file."""
Values = dict[str, tuple[str, ...]]


def is_sidecar(name: str) -> bool:
    """Whether a file contains tags of other files, so that it is not a document itself."""
    return name.endswith(SIDECARS)


@dataclass(frozen=True)
class _Folder:
    tags: Values
    rules: tuple[tuple[Callable[[str], bool], Values], ...]


@dataclass
class Tagging:
    """The tags of files by name; `sidecars` are the contents of sidecar files by name.

    Raises:
        InvalidTag: one of them cannot be used; the message names it.
    """

    given: Mapping[str, str | Sequence[str]]
    sidecars: Mapping[str, bytes] = field(default_factory=dict[str, bytes])

    def __post_init__(self) -> None:
        self._given = _values_by_tag(self.given, "the tags of this ingestion")
        self._files: dict[str, Values] = {}
        self._folders: dict[str, _Folder] = {}
        for name, content in sorted(self.sidecars.items()):
            loaded = _load_yaml(name, content)
            folder, _, own = name.rpartition("/")
            if own in SIDECARS:
                self._folders[folder] = _read_folder(name, loaded)
            else:
                ending = next(ending for ending in SIDECARS if own.endswith(ending))
                self._files[name.removesuffix(ending)] = _values_by_tag(loaded, name)

    def of(self, name: str, given: Values | None = None) -> tuple[tuple[str, str], ...]:
        """The tags of a file, in the form of `Document.tags`; `given` replaces the tags of the whole ingestion."""
        found = dict(self._given if given is None else given)
        parts = name.split("/")
        for depth in range(len(parts)) if self._folders else ():
            folder = self._folders.get("/".join(parts[:depth]))
            if folder is not None:
                found |= folder.tags
                inside = "/".join(parts[depth:])
                for matches, tags in folder.rules:
                    if matches(inside):
                        found |= tags
        return check_tags(found | self._files.get(name, {}))


def _load_yaml(name: str, content: bytes) -> dict[str, Any]:
    try:
        loaded: Any = YAML(typ="safe", pure=True).load(content.decode("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InvalidTag(f"{name}: cannot be read as YAML: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise InvalidTag(f"{name}: must be a mapping from tag to value or values, for example 'department: legal'")
    return {str(key): value for key, value in cast("dict[Any, Any]", loaded).items()}


def _read_folder(name: str, loaded: dict[str, Any]) -> _Folder:
    listed: Any = loaded.pop("rules", [])
    rules: list[tuple[Callable[[str], bool], Values]] = []
    for number, rule in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else [listed], start=1):
        where = f"{name}: rule {number}"
        if not isinstance(rule, dict) or set(cast("dict[Any, Any]", rule)) != {"match", "tags"}:
            raise InvalidTag(f"{where} must have `match`, a glob, and `tags`, a mapping, and nothing else")
        made = cast("dict[str, Any]", rule)
        rules.append((glob_filter(str(made["match"])), _values_by_tag(made["tags"], where)))
    return _Folder(_values_by_tag(loaded, name), tuple(rules))


def _values_by_tag(tags: Any, where: str) -> Values:
    if not isinstance(tags, Mapping):
        raise InvalidTag(f"{where}: tags must be a mapping from tag to value or values")
    try:
        pairs = check_tags(cast("Mapping[str, str | Sequence[str]]", tags))
    except InvalidTag as error:
        raise InvalidTag(f"{where}: {error}") from error
    found: Values = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found
