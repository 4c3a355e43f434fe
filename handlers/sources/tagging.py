"""The tags of listed files, independent of which of the sources that contain a file is being ingested."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from flows.errors import MissingObject
from flows.state import DiskSequence
from flows.storage import canonical_uri, path_below
from handlers.extraction import split_member
from handlers.records import SourceFile
from handlers.sources.coverage import Coverage
from handlers.sources.opening import Sources
from handlers.sources.sidecars import SIDECARS, Tagging
from handlers.stores import SourceRecord

_MOST_BYTES = 1_000_000
"""Of a sidecar file."""


def tag_files(
    files: Sequence[SourceFile],
    record: SourceRecord,
    coverage: Coverage,
    sources: Sources,
    sidecars: Mapping[str, str],
) -> Sequence[SourceFile]:
    """The files of a source with their tags; `sidecars` has the URIs of those that were listed with them, by name.

    Sidecars of folders above the source count too, up to the outermost folder that is a source of the index.
    """
    folder = record.uri if record.is_folder else record.uri.rpartition("/")[0]
    top = coverage.outermost_folder(folder) or folder
    inside = path_below(top, folder)
    prefix = f"{inside}/" if inside else ""
    found = {f"{prefix}{name}": uri for name, uri in sidecars.items()}
    if sources.is_stored(record.uri):
        found |= _above(files[0], prefix, record.is_folder)
    contents: dict[str, bytes] = {}
    for name, uri in found.items():
        with suppress(MissingObject):
            contents[name] = sources.fetch(uri, source=record.uri, max_bytes=_MOST_BYTES).data
    if not (contents or record.tags or any(each.tags for each in coverage.records)):
        return files
    tagging = Tagging({}, contents)

    def tagged() -> Iterator[SourceFile]:
        for file in files:
            given: dict[str, tuple[str, ...]] = {}
            for each in coverage.holding(canonical_uri(file.uri)):
                given |= values_by_tag(each.tags)
            given |= values_by_tag(file.tags)
            # Members of an archive or mail have its tags.
            yield replace(file, tags=tagging.of(f"{prefix}{split_member(file.name)[0]}", given))

    return DiskSequence(tagged())


def _above(file: SourceFile, prefix: str, is_folder: bool) -> dict[str, str]:
    """The places of sidecars that are not in the listing: folders above the source, and beside a single file."""
    depth = file.name.count("/") + 1
    folders = file.uri.rsplit("/", depth)[0].split("/")
    above = prefix.split("/")[:-1]
    found: dict[str, str] = {}
    for level in range(len(above) + (0 if is_folder else 1)):
        place = "/".join(folders[: len(folders) - len(above) + level])
        inside = "".join(f"{part}/" for part in above[:level])
        found |= {f"{inside}{ending}": f"{place}/{ending}" for ending in SIDECARS}
    if not is_folder:
        found |= {f"{prefix}{file.name}{ending}": f"{file.uri}{ending}" for ending in SIDECARS}
    return found


def values_by_tag(tags: Sequence[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """The values of each tag."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in tags:
        found[name] = (*found.get(name, ()), value)
    return found
