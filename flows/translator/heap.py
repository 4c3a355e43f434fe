"""Keeps Python's garbage collector from searching what was there before a run.

After Prefect's import there are half a million objects, and each full collection looks at all of them: 0.1 s, several
times per thousand task runs.
"""

import contextlib
import gc
from collections.abc import Generator
from threading import Lock

_lock, _runs, _ours = Lock(), 0, False


@contextlib.contextmanager
def heap_frozen() -> Generator[None]:
    """Exempt the objects that exist now from garbage collection until the last concurrent run has ended.

    If the program has exempted objects itself, it keeps control, and nothing happens.
    """
    global _runs, _ours
    with _lock:
        if not _runs and not gc.get_freeze_count():
            gc.freeze()
            _ours = True
        _runs += 1
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if not _runs and _ours:
                gc.unfreeze()
                _ours = False
