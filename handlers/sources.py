"""What there is to ingest: the files below a folder or prefix whose format Braid can read."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from flows.calls import Call
from flows.errors import FatalError
from flows.registry import handler
from flows.storage import Storage
from handlers.extraction.formats import MIME_TYPES, mime_type_of
from handlers.records import Source

HIDDEN = ("**/.*", "**/.*/**", "**/~$*", "**/__MACOSX/**", "**/Thumbs.db")
"""What nobody means to ingest: hidden files and folders, lock files of office programs."""


@handler(writes="sources", effects=())
def list_sources(
    source: str,
    *,
    pattern: str = "**/*",
    exclude: Sequence[str] = HIDDEN,
    limit: int | None = None,
    call: Call,
) -> tuple[Source, ...]:
    """The files to ingest below a folder, file or `s3://` prefix, sorted by name.

    `pattern` and `exclude` are globs against the path below `source`: `*` stays within a folder, `**/` is any
    number of folders. Files of other formats are counted in the log and left out; `limit` keeps the first ones.

    Raises:
        FatalError: nothing is left to ingest.
    """
    storage: Storage = call.services["storage"]
    excluded = [_compile(glob) for glob in exclude]
    found: list[Source] = []
    ignored: Counter[str] = Counter()
    for stored in storage.list(source, pattern=pattern):
        call.check_cancelled()
        if any(matches(stored.name) for matches in excluded):
            continue
        if mime_type_of(stored.name) is None:
            ignored[PurePosixPath(stored.name).suffix.lower() or "no suffix"] += 1
            continue
        found.append(Source(stored.uri, stored.name, stored.size, stored.modified, stored.etag))
    found.sort(key=lambda listed: listed.name)
    if ignored:
        kinds = ", ".join(f"{count} × {suffix}" for suffix, count in sorted(ignored.items()))
        call.logger.info("%s: %d files of other formats ignored (%s)", source, ignored.total(), kinds)
    if not found:
        raise FatalError(_explain_nothing(source, pattern, ignored))
    call.logger.info("%s: %d files to ingest", source, len(found) if limit is None else min(limit, len(found)))
    return tuple(found if limit is None else found[:limit])


def _compile(glob: str) -> Callable[[str], bool]:
    from fsspec.utils import glob_translate  # pyright: ignore[reportMissingTypeStubs]  (fsspec ships none)

    try:
        matches = re.compile(glob_translate(glob)).match
    except (ValueError, re.error) as error:
        raise FatalError(f"the pattern {glob!r} in `exclude` cannot be used: {error}") from error
    return lambda name: matches(name) is not None


def _explain_nothing(source: str, pattern: str, ignored: Counter[str]) -> str:
    formats = ", ".join(sorted(MIME_TYPES))
    if ignored:
        return (
            f"{source}: none of its {ignored.total()} files is of a format that can be ingested; these are: {formats}"
        )
    if pattern != "**/*":
        return f"{source}: no file matches {pattern!r}; `**/*` takes all files, in folders too"
    return f"{source}: holds no files; name a folder, file or s3:// prefix with documents in it ({formats})"
