"""Files as a source: those below a folder or prefix whose format Braid can read."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import PurePosixPath

from flows.author import Call, handler
from flows.errors import FatalError
from flows.state import DiskSequence, Spool
from flows.storage import Storage, glob_filter
from handlers.extraction import OcrMode, formats_shown, is_picture, mime_type_of, recognition_of
from handlers.records import SourceFile
from handlers.sources.manifests import is_manifest, read_manifest
from handlers.sources.sidecars import SIDECARS, Tagging, is_sidecar

HIDDEN = ("**/.*", "**/.*/**", "**/~$*", "**/__MACOSX/**", "**/Thumbs.db")
"""Never worth ingesting: hidden files and folders, lock files of office programs."""

SETTLED_S = 2.0
"""A file changed less than this before it is listed may change again without looking different, except for its ETag."""


@handler(writes="sources", effects=())
def list_sources(
    source: str,
    *,
    pattern: str = "**/*",
    exclude: Sequence[str] = HIDDEN,
    limit: int | None = None,
    tags: Mapping[str, str | Sequence[str]] | None = None,
    ocr: OcrMode = "auto",
    call: Call,
) -> Sequence[SourceFile]:
    """The files to ingest below a folder, file or `s3://` prefix, sorted by name.

    `pattern` and `exclude` are globs against the path below `source`: `*` stays within a folder, `**/` is any
    number of folders. Pictures are listed if `ocr` is not `never` and an engine is installed.
    Files of other formats are counted in the log and left out; `limit` keeps the first ones. All
    get `tags`, and those of folders and sidecar files (see `handlers.sources.sidecars`).

    The listing is on disk (see `flows.state.disk_sequences`) and may be of any length.

    A source `manifest:URI` is a listing that was made before: all files that it names are taken as they are there.

    Raises:
        FatalError: nothing is left to ingest.
        InvalidTag: a tag is not valid; the message names the file.
    """
    storage: Storage = call.services["storage"]
    if is_manifest(source):
        return read_manifest(storage, source)
    found, sidecars = Spool[SourceFile](key=lambda listed: listed.name), dict[str, str]()
    ignored = Counter[str]()
    pictures = ocr != "never" and recognition_of(call).engine is not None
    for stored in _files(storage, source, pattern, exclude, sidecars, ignored, pictures):
        call.check_cancelled()
        found.add(stored)
    if ignored:
        kinds = ", ".join(f"{count} × {suffix}" for suffix, count in sorted(ignored.items()))
        call.logger.info("%s: %d files of other formats ignored (%s)", source, ignored.total(), kinds)
    if not len(found):
        raise FatalError(_nothing_to_ingest(source, pattern, ignored))
    call.logger.info("%s: %d files to ingest", source, len(found) if limit is None else min(limit, len(found)))
    listed = found.finish()
    if not (tags or sidecars or limit is not None):
        return listed
    # A folder's tags may stand behind its files in the listing.
    given = Tagging(tags or {}, {name: storage.read(uri, max_bytes=1_000_000) for name, uri in sidecars.items()})
    return DiskSequence(replace(each, tags=given.of(each.name)) for each in islice(listed, limit))


def _files(
    storage: Storage,
    source: str,
    pattern: str,
    exclude: Sequence[str],
    sidecars: dict[str, str],
    ignored: Counter[str],
    pictures: bool,
) -> Iterator[SourceFile]:
    """The files of known formats, as they are listed; notes the URIs of sidecars by name, and counts other formats."""
    now = time.time()
    excluded = [glob_filter(glob) for glob in exclude]
    for stored in storage.list(source, pattern=pattern, including=SIDECARS):
        if is_sidecar(stored.name):
            sidecars[stored.name] = stored.uri
            continue
        if any(matches(stored.name) for matches in excluded):
            continue
        if mime_type_of(stored.name) is None or (is_picture(stored.name) and not pictures):
            ignored[PurePosixPath(stored.name).suffix.lower() or "no suffix"] += 1
            continue
        settled = stored.modified is not None and stored.modified < now - SETTLED_S
        certain = settled or stored.etag is not None
        yield SourceFile(stored.uri, stored.name, stored.size, stored.modified, stored.etag, certain=certain)


def _nothing_to_ingest(source: str, pattern: str, ignored: Counter[str]) -> str:
    formats = formats_shown()
    if ignored:
        return f"{source}: none of its {ignored.total()} files has a format that can be ingested: {formats}"
    if pattern != "**/*":
        return f"{source}: no file matches {pattern!r}; `**/*` takes all files, in folders too"
    return f"{source}: holds no files; name a folder, file or s3:// prefix with documents in it ({formats})"
