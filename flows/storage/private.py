"""Folders and files that only their owner may read: the home, the run store, indexes and keys."""

import os
import stat
from pathlib import Path


def private_folder(folder: Path) -> Path:
    """The folder, created with its parents if it is missing, so that only its owner may enter it.

    An existing folder keeps its permissions, because a team may share it on purpose.
    """
    missing = [folder, *folder.parents]
    for each in reversed([each for each in missing if not each.exists()]):
        each.mkdir(mode=0o700, exist_ok=True)
    return folder


def private_file(path: Path) -> Path:
    """The file, created empty if it is missing, so that only its owner may read it."""
    private_folder(path.parent)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    return path


def open_to_others(path: Path) -> bool:
    """Whether users other than the owner may read, enter or change it."""
    return os.name == "posix" and path.exists() and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def can_be_written(folder: Path) -> bool:
    """Whether this user can write to the folder, or can create it."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)
