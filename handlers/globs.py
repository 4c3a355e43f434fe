"""Names that fit a glob: `*` stays within a folder, `**/` is any number of folders."""

import re
from collections.abc import Callable

from flows.errors import FatalError


def compiled(glob: str) -> Callable[[str], bool]:
    """Whether a name fits a glob.

    Raises:
        FatalError: it is none.
    """
    from fsspec.utils import glob_translate  # pyright: ignore[reportMissingTypeStubs]  (fsspec ships none)

    try:
        matches = re.compile(glob_translate(glob)).match
    except (ValueError, re.error) as error:
        raise FatalError(f"the pattern {glob!r} cannot be used: {error}") from error
    return lambda name: matches(name) is not None
