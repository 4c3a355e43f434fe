"""Indexes by name: listed, found, and removed with their artifacts."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from deployments.setting_values import InvalidSettings, index_name
from deployments.settings import Settings
from flows.errors import UnknownName
from flows.storage import Storage, can_be_written

_SQLITE = "sqlite:///"
_PROBE = "x"


class MissingIndex(UnknownName):
    """There is no index of that name."""

    def __str__(self) -> str:
        return f"{super().__str__()}; `braid ingest FOLDER --index {self.name}` makes it"


def index_names(settings: Settings) -> list[str] | None:
    """The names of all indexes; None if they are only in memory and cannot be listed."""
    url = settings.index_location(_PROBE)
    if is_postgres(url):
        from handlers.stores.postgres import names_in_database

        return names_in_database(url)
    template = settings.index_template.removeprefix(_SQLITE)
    return None if "://" in template else _names_of_files(template)


def require_index(settings: Settings, name: str) -> None:
    """Refuse the name of a missing index, since opening it would create an empty one.

    Raises:
        UnknownName: there is no such index; the message suggests the nearest.
        InvalidSettings: the home of the settings, in which it would be, cannot be used.
    """
    url = settings.index_location(index_name(name))
    if url.startswith(_SQLITE) and _file_of(url).exists():
        return  # without opening every other file
    names = index_names(settings)
    if not _is_there(url, name, names):
        if not names:
            _require_home(settings, name)
        raise MissingIndex("index", name, names or ())


def _require_home(settings: Settings, name: str) -> None:
    """Refuse a home that is no folder and cannot become one, since no index can be in it."""
    home = settings.home.absolute()
    if settings.index_url is None and not can_be_written(home):
        raise InvalidSettings(
            f"no index named {name!r}: the home {home} cannot be used; set BRAID_HOME to the folder of the indexes"
        )


def remove_index(settings: Settings, name: str) -> None:
    """Delete an index with its artifacts.

    Raises:
        InvalidSettings: the index is neither a file nor in a database.
    """
    url = settings.index_location(name)
    if is_postgres(url):
        from handlers.stores.postgres import drop_index

        drop_index(url)
    elif url.startswith(_SQLITE) or "://" not in url:
        for suffix in ("", "-wal", "-shm"):
            Path(url.removeprefix(_SQLITE) + suffix).unlink(missing_ok=True)
    else:
        raise InvalidSettings(f"the index {name!r} is neither a file nor in PostgreSQL, so it is not removed here")
    Storage(settings.storage_options).delete(Storage.join(settings.artifacts_root, index_name(name)), recursive=True)


def locate_index(settings: Settings, name_or_url: str, *, must_exist: bool) -> str:
    """The URL of the index with this name, or the URL itself.

    Raises:
        UnknownName: `must_exist` is set, and it does not exist.
    """
    if "://" not in name_or_url:
        if must_exist:
            require_index(settings, name_or_url)
        return settings.index_location(name_or_url)
    if must_exist and not name_or_url.startswith("memory:"):
        names: Sequence[str] | None = None
        name = name_or_url
        if is_postgres(name_or_url):
            from handlers.stores.postgres import Address, names_in_database

            name, names = Address.parse(name_or_url).index, names_in_database(name_or_url)
        if not _is_there(name_or_url, name, names):
            raise MissingIndex("index", name, names or ())
    return name_or_url


def is_postgres(url: str) -> bool:
    """Whether this is the URL of an index in PostgreSQL."""
    return url.startswith(("postgresql://", "postgresql+psycopg://", "postgres://"))


def _is_there(url: str, name: str, names: Sequence[str] | None) -> bool:
    if url.startswith(_SQLITE):
        return _file_of(url).exists()
    return names is None or name in names


def _file_of(url: str) -> Path:
    return Path(url.removeprefix(_SQLITE))


def _names_of_files(template: str) -> list[str]:
    """The names that replace `{index}` in the paths of index files."""
    from handlers.stores.sqlite import may_be_index

    before, *after = template.split("{index}")
    # If the placeholder is in the path twice, both names must be equal.
    pattern = re.compile(re.escape(before) + r"([^/\\]+)" + r"\1".join(map(re.escape, after)))
    paths = glob.iglob("*".join(map(glob.escape, (before, *after))), include_hidden=True)
    matches = [match for path in paths if (match := pattern.fullmatch(path)) and may_be_index(path)]
    return sorted(match[1] for match in matches)
