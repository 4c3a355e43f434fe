"""Writes files so that they survive a power cut, complete and under their names, once the function has returned."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file atomically (a power cut leaves the old or the new content); only its owner may read it."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
        sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a power cut; does nothing where folders cannot be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folders_durably(folder: Path) -> None:
    """Make a folder and those above it that are missing."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    os.makedirs(folder, exist_ok=True)
    for each in reversed(missing):
        sync_folder(each.parent)
