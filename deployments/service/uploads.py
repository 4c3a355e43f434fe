"""Uploaded files, stored in one folder per index, from which ingestions read them."""

from pydantic import BaseModel

from deployments.service.problems import TooLarge
from deployments.setting_values import index_name
from deployments.settings import Settings
from flows.model import InvalidParameters
from flows.storage import Storage

_MEGABYTE = 1_000_000


class Uploaded(BaseModel):
    """A stored file."""

    name: str
    size: int


def most_bytes(settings: Settings) -> int:
    """The most bytes of an uploaded file; 0 if uploads are not allowed."""
    return int(settings.serve_upload_mb * _MEGABYTE)


def uploads_of(settings: Settings, index: str) -> str:
    """The folder of the uploaded files of an index."""
    return Storage.join(settings.uploads_root, index_name(index))


def write_upload(settings: Settings, index: str, name: str, content: bytes) -> Uploaded:
    """Store a file, replacing one with the same name.

    Raises:
        InvalidParameters: an ingestion would not read a file with this name.
        InvalidSettings: the index has an impossible name.
        TooLarge: the file is larger than is allowed.
    """
    if len(content) > most_bytes(settings):
        raise TooLarge(f"files of up to {settings.serve_upload_mb:g} MB may be uploaded here")
    if not name.strip() or name.startswith((".", "~$")) or any(ord(each) < 32 or each in "/\\:" for each in name):
        raise InvalidParameters(f"{name!r} cannot be the name of an uploaded file; use one like report.pdf")
    storage = Storage(settings.storage_options)
    storage.write(Storage.join(settings.uploads_root, index_name(index), name), content)
    return Uploaded(name=name, size=len(content))
