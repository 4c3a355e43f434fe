"""Names that fit a glob: `*` stays within a folder, `**/` is any number of folders."""

import re
from collections.abc import Callable

from flows.errors import FatalError


def compiled(glob: str) -> Callable[[str], bool]:
    """Whether a name fits a glob.

    Raises:
        FatalError: it is none.
    """
    from fsspec import utils  # pyright: ignore[reportMissingTypeStubs]  (fsspec ships none)

    try:
        matches = re.compile(str(utils.glob_translate(glob))).match  # pyright: ignore[reportUnknownMemberType]
    except (ValueError, re.error) as error:
        raise FatalError(f"the pattern {glob!r} cannot be used: {error}") from error
    return lambda name: matches(name) is not None
