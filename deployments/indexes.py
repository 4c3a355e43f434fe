"""Indexes by name: which there are, and how one is removed."""

from pathlib import Path

from deployments.settings import InvalidSettings, Settings, index_name
from flows.errors import UnknownName
from flows.storage import Storage

_SQLITE = "sqlite:///"


def index_names(settings: Settings) -> list[str] | None:
    """The indexes there are; None where they cannot be listed, because they are not files."""
    template = settings.index_location("x").removesuffix("x.db") if settings.index_url is None else None
    if template is None:
        return None
    folder = Path(template.removeprefix(_SQLITE))
    return sorted(path.stem for path in folder.glob("*.db")) if folder.is_dir() else []


def require_index(settings: Settings, name: str) -> None:
    """Refuse an index that is not there; opening it would make an empty one.

    Raises:
        UnknownName: there is none; the message suggests the nearest.
    """
    url = settings.index_location(name)
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE)).exists():
        raise UnknownName("index", name, index_names(settings) or (), place="make one with `braid ingest FOLDER`")


def remove_index(settings: Settings, name: str) -> None:
    """Delete an index that is a file, with its artifacts.

    Raises:
        InvalidSettings: it is not a file.
    """
    url = settings.index_location(name)
    if not url.startswith(_SQLITE):
        raise InvalidSettings(f"the index {name!r} is not a file, so it is not removed here")
    for suffix in ("", "-wal", "-shm"):
        Path(url.removeprefix(_SQLITE) + suffix).unlink(missing_ok=True)
    Storage(settings.storage_options).delete(Storage.join(settings.artifacts_root, index_name(name)), recursive=True)
