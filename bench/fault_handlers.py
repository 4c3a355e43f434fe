"""Handlers that break in ways which need a module of their own: worker processes find them here by name."""

import os
import signal
from pathlib import Path

from flows.author import handler


@handler(name="bench_dies_once", writes="survivor", isolation="process")
def dies_once(marker: str, item: int) -> int:
    """The first time, its worker process ends with SIGKILL."""
    path = Path(f"{marker}-{item}")
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item * 2
