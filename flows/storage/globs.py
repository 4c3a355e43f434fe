"""Globs for names of files: `*` stays within a folder, `**/` is any number of folders."""

import re
from collections.abc import Callable

from flows.errors import StorageError

EVERYTHING = "**/*"


def glob_filter(glob: str) -> Callable[[str], bool]:
    """A function that decides whether a name fits the glob.

    Raises:
        StorageError: the glob cannot be understood.
    """
    if glob == EVERYTHING:
        return bool
    # fsspec takes a tenth of a second to import.
    from fsspec import utils  # pyright: ignore[reportMissingTypeStubs]  (fsspec ships none)

    try:
        matches = re.compile(str(utils.glob_translate(glob))).match  # pyright: ignore[reportUnknownMemberType]
    except (ValueError, re.error) as error:
        raise StorageError(f"the pattern {glob!r} cannot be used: {error}") from error
    return lambda name: matches(name) is not None
