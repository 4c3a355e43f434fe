"""`list_sources`: lists every document of a source for ingestion, or leaves it out by a rule."""

import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import PurePosixPath

from flows.author import Call, handler
from flows.errors import FatalError
from flows.state import DiskSequence, Spool
from flows.storage import PassedOver, Storage, canonical_uri, glob_filter
from handlers.extraction import (
    OcrMode,
    formats_shown,
    inside,
    is_known,
    is_picture,
    mime_type_of,
    recognition_of,
    split_member,
)
from handlers.records import LeftOut, SourceFile, stable_id
from handlers.sources.coverage import Coverage
from handlers.sources.manifests import is_manifest, read_manifest
from handlers.sources.members import Containers
from handlers.sources.opening import sources_of
from handlers.sources.protocol import Listed
from handlers.sources.registering import register, registered
from handlers.sources.rules import RULES
from handlers.sources.sidecars import Tagging, is_sidecar
from handlers.sources.tagging import tag_files, values_by_tag
from handlers.stores import SourceRecord
from handlers.tags import check_tags

HIDDEN = ("**/.*", "**/.*/**", "**/~$*", "**/__MACOSX/**", "**/Thumbs.db")
"""Files that are never ingested: hidden files and folders, lock files of office programs."""

SETTLED_S = 2.0
"""A file changed less than this before the listing may change again without a visible difference, except for its ETag.
"""

_SUFFIXES_SHOWN = 10


@handler(writes="sources", effects="index.sources")
def list_sources(
    source: str,
    *,
    pattern: str = "**/*",
    exclude: Sequence[str] = HIDDEN,
    limit: int | None = None,
    max_document_bytes: int | None = None,
    tags: Mapping[str, str | Sequence[str]] | None = None,
    ocr: OcrMode = "auto",
    call: Call,
) -> Sequence[SourceFile]:
    """The documents of a source to ingest, sorted by name; `source` is a path, or the URL of a place of any kind.

    `pattern` and `exclude` are globs against the path below `source`: `*` stays within a folder, `**/` is any
    number of folders. Every other object is left out by one of the rules in `handlers.sources.rules`; `limit` keeps the
    first files. All files get `tags`, those of other sources of the index that hold them, those of folders and
    sidecar files (see `handlers.sources.sidecars`), and those that the source itself knows. Pictures are files to
    ingest if `ocr` is not `never` and an engine is installed. Archives and mails are listed with the files in them.

    The source is registered in the index, with everything that it leaves out. The listing is on disk (see
    `flows.state.disk_sequences`) and may be of any length.

    A source `manifest:URI` is an earlier listing, whose entries are used unchanged.

    Raises:
        FatalError: there is nothing to ingest.
        InvalidTag: a tag is not valid; the message names the file.
    """
    storage: Storage = call.services["storage"]
    if is_manifest(source):
        return read_manifest(storage, source)
    given = Tagging(tags or {}).of("")
    pictures = ocr != "never" and recognition_of(call).engine is not None
    rules = f"{pattern} {list(exclude)} {max_document_bytes} {pictures}"
    sources = sources_of(call)
    place = sources.at(source)
    containers = Containers(call, place.root, pattern, rules)
    globs = [(glob_filter(glob), glob) for glob in exclude]
    survey = _Survey(place.root, glob_filter(pattern), globs, max_document_bytes, pictures, containers)
    survey.is_stored = sources.is_stored(place.root)
    for page in place.pages(survey.accepts):
        call.check_cancelled()
        for found in page:
            survey.add(found)
    files = survey.finish(limit)
    if not len(files):
        raise FatalError(_nothing_to_ingest(source, pattern, survey.counts))
    record = _record_of(place.root, files, SourceRecord("", pattern, tuple(exclude), given, run_id=call.run_id))
    known = registered(call)
    coverage = Coverage([*(each for each in known if not _is_same(each, record)), record])
    files = tag_files(files, record, coverage, sources, survey.sidecars)
    register(record, known, survey.left_out.finish(), call)
    call.logger.info("%s: %d files to ingest%s", source, len(files), survey.describe())
    return files


def _record_of(root: str, files: Sequence[SourceFile], record: SourceRecord) -> SourceRecord:
    """The record with its URI; neither pattern nor exclusions apply to a single file."""
    if canonical_uri(files[0].uri) == root:
        return replace(record, uri=root, pattern="**/*", exclude=(), is_folder=False)
    return replace(record, uri=root)


def _is_same(one: SourceRecord, other: SourceRecord) -> bool:
    return (one.uri, one.pattern) == (other.uri, other.pattern)


@dataclass
class _Survey:
    """Sorts the objects of a source into files to ingest, sidecars, and those that a rule leaves out."""

    root: str
    accepts: Callable[[str], bool]
    excluded: Sequence[tuple[Callable[[str], bool], str]]
    max_bytes: int | None
    pictures: bool
    """Whether pictures can be read."""
    containers: Containers
    files: Spool[SourceFile] = field(default_factory=lambda: Spool(key=_composed_name))
    left_out: Spool[LeftOut] = field(default_factory=Spool[LeftOut])
    sidecars: dict[str, str] = field(default_factory=dict[str, str])
    """The URIs by name."""
    counts: Counter[str] = field(default_factory=Counter[str])
    """The number of objects that each rule leaves out."""
    suffixes: Counter[str] = field(default_factory=Counter[str])
    """The suffixes of files with unknown formats."""
    is_ascii: bool = True
    """Whether all file names match the pattern."""
    now: float = field(default_factory=time.time)
    is_stored: bool = True
    """Whether the URI alone is enough to open a file."""

    def add(self, found: Listed | PassedOver) -> None:
        if isinstance(found, PassedOver):
            self._leave_out(found, found.rule, found.reason)
        elif is_sidecar(found.name):
            self.sidecars[found.name] = found.uri
            self._leave_out(found, "sidecar", RULES["sidecar"])
        elif (glob := next((glob for matches, glob in self.excluded if matches(found.name)), None)) is not None:
            self._leave_out(found, "hidden" if glob in HIDDEN else "excluded", f"fits {glob}")
        elif not self._fits(found):
            self._leave_out(found, "pattern", "does not fit the pattern")
        elif not self._is_readable(found):
            suffix = PurePosixPath(found.name).suffix.lower() or "no suffix"
            self.suffixes[suffix] += 1
            self._leave_out(found, "format", suffix)
        elif found.size == 0:
            self._leave_out(found, "empty", RULES["empty"])
        elif self.max_bytes is not None and (found.size or 0) > self.max_bytes:
            self._leave_out(found, "size", f"{found.size:,} bytes, more than {self.max_bytes:,} (max_document_bytes)")
        else:
            settled = found.modified is not None and found.modified < self.now - SETTLED_S
            token = found.token if self.is_stored or found.token is None else stable_id(found.token)
            self.is_ascii = self.is_ascii and found.name.isascii()
            file = SourceFile(
                found.uri, found.name, found.size or 0, found.modified, token, certain=settled or bool(token)
            )
            tags = check_tags(found.tags) if found.tags else ()
            source = "" if self.is_stored else self.root
            self._add_file(replace(file, tags=tags, mime_type=found.mime_type, source=source))

    def _fits(self, found: Listed) -> bool:
        """Whether it matches the pattern; storage has checked that already, and a single document needs no match."""
        return self.is_stored or self.accepts(found.name) or found.uri == self.root or bool(split_member(found.uri)[1])

    def _is_readable(self, found: Listed) -> bool:
        if found.mime_type:
            return is_known(found.mime_type)
        return mime_type_of(found.name) is not None and (self.pictures or not is_picture(found.name))

    def _add_file(self, file: SourceFile) -> None:
        """List a file, followed by its members if it is an archive or a mail."""
        if not self.containers.may_open(file):
            self.files.add(file)
            return
        known = self.containers.recalled(file)
        if known is not None:
            self._add_known([known.container, *(_as_inside(each, file) for each in known.members)])
            for each in known.left_out:
                self._leave_out(each, each.rule, each.reason)
            return
        members = self.containers.members(file)
        if members is None:  # its known state stays unchanged
            self._add_known([file, *(_as_inside(each, file) for each in self.containers.as_known(file))])
            return
        before = len(self.files)
        for each in members:
            uri, name = inside(file.uri, each.name), inside(file.name, each.name)
            self.add(Listed(uri, name, each.mark, each.size, each.modified, tags=values_by_tag(file.tags)))
        self.files.add(self.containers.counted(file, len(self.files) - before))

    def _add_known(self, files: Sequence[SourceFile]) -> None:
        self.is_ascii = self.is_ascii and all(each.name.isascii() for each in files)
        self.files.extend(files)

    def describe(self) -> str:
        """The files that are left out, for a log; empty if there are none."""
        counted = [f"{self.counts[rule]:,} {rule}" for rule in RULES if self.counts[rule]]
        most = sorted(self.suffixes.items(), key=lambda item: (-item[1], item[0]))[:_SUFFIXES_SHOWN]
        kinds = f" (formats: {', '.join(f'{count:,} × {suffix}' for suffix, count in most)})" if most else ""
        return f"; left out: {', '.join(counted)}{kinds}" if counted else ""

    def finish(self, limit: int | None) -> DiskSequence[SourceFile]:
        """The files by name, one for each canonical URI, and no more than `limit`."""
        if limit is None and self.is_ascii:
            return self.files.finish()  # two of them cannot have the same canonical URI
        return DiskSequence(self._chosen(limit))

    def _chosen(self, limit: int | None) -> Iterator[SourceFile]:
        taken = 0
        for uri, same in groupby(self.files.finish(), key=lambda file: canonical_uri(file.uri)):
            files = list(same)
            chosen = next((file for file in files if file.uri == uri), files[0])
            for file in files:
                if file is not chosen:
                    self._leave_out(
                        file, "duplicate", f"the same as {chosen.name}, except for the Unicode form of its name"
                    )
            if limit is not None and taken >= limit:
                self._leave_out(chosen, "limit", RULES["limit"])
            else:
                taken += 1
                yield chosen

    def _leave_out(self, found: Listed | PassedOver | SourceFile | LeftOut, rule: str, reason: str) -> None:
        self.counts[rule] += 1
        self.left_out.add(LeftOut(found.uri, found.name, rule, reason))


def _as_inside(member: SourceFile, container: SourceFile) -> SourceFile:
    """A member in its current state, with the values from its container."""
    return replace(member, tags=container.tags, source=container.source)


def _composed_name(file: SourceFile) -> str:
    return unicodedata.normalize("NFC", file.name)


def _nothing_to_ingest(source: str, pattern: str, counts: Mapping[str, int]) -> str:
    if counts["format"]:
        return f"{source}: none of its {counts['format']} files has a format that can be ingested: {formats_shown()}"
    if counts["pattern"]:
        return f"{source}: no file matches {pattern!r}; `**/*` takes all files, in folders too"
    if counts:
        left_out = ", ".join(f"{number:,} {rule}" for rule, number in counts.items())
        return f"{source}: holds no file that can be ingested; left out: {left_out}"
    return (
        f"{source}: holds no files; name a folder, file or s3:// prefix with documents in it. "
        "An empty source removes nothing from an index; `braid documents delete` does"
    )
