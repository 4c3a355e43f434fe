"""Makes threads reuse memory that other threads have freed."""

import ctypes
import os

_M_ARENA_MAX = -8
_ARENAS = 2


def share_arenas() -> bool:
    """Limit glibc to two malloc arenas for all threads of this process; return whether that was done.

    By default each thread gets an arena of its own, up to eight per core, and an arena keeps freed memory. While large
    documents are ingested, that doubles the memory. `MALLOC_ARENA_MAX` and `GLIBC_TUNABLES` take precedence.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        if "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""):
            return False
        return ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS) == 1
    except (AttributeError, OSError, ValueError):  # not glibc
        return False
