"""Writes and reads the files that content steps pass on by reference, with their properties."""

import hashlib
import re
from dataclasses import dataclass
from typing import cast

from flows.author import Call
from flows.errors import FatalError
from flows.state import Services
from flows.storage import Storage

SUFFIXES = {
    "audio/wav": ".wav",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "video/webp": ".webp",
}
MOST_BYTES = 200_000_000


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """A file that a step made; a `placeholder` stands for a file that a model would make."""

    uri: str
    media_type: str
    size: int
    sha256: str
    provider: str
    model: str = ""
    text: str = ""
    """The text that it was made from."""
    placeholder: bool = False


@dataclass(frozen=True, kw_only=True)
class AudioFile(MediaFile):
    """Sound; `quality` is from 0, silent or all clipped, to 1."""

    seconds: float
    quality: float
    voice: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageFile(MediaFile):
    """A picture; `quality` is its sharpness, see `sharpness`."""

    width: int
    height: int
    quality: float


@dataclass(frozen=True, kw_only=True)
class VideoFile(MediaFile):
    """Moving pictures."""

    width: int
    height: int
    seconds: float


def store_file(data: bytes, media_type: str, *, name: str, folder: str, call: Call) -> dict[str, object]:
    """Write a file below the artifacts folder, and return the properties that every file has.

    Without a `folder`, the file goes to a folder of the run and the step, so that only a retry of the step overwrites
    it. The suffix is that of the media type, not that of `name`.

    Raises:
        FatalError: `name` or `folder` is outside of the artifacts folder.
    """
    storage: Storage = call.services["storage"]
    item = re.sub(r"\W+", "-", call.item or "").strip("-")
    stem = re.sub(r"\.\w{1,5}$", "", name) or re.sub(r"[^\w.-]+", "-", call.step_id).strip("-.")
    step = re.sub(r"[^\w.-]+", "-", call.step_id).strip("-.") or "step"
    parts = [folder] if folder else ["content", call.run_id or "run", step]
    file = f"{stem}{f'-{item}' if item else ''}{SUFFIXES[media_type]}"
    for part in (*parts, file):
        if part.startswith(("/", "~")) or "://" in part or ".." in part.split("/"):
            raise FatalError(
                f"{part!r} is outside of the artifacts folder; use a relative path, and set the "
                "folder in BRAID_ARTIFACTS_URL"
            )
    uri = storage.join(cast("str", call.services["artifacts_url"]), call.index, *parts, file)
    return write_file(storage, uri, data, media_type)


def write_file(storage: Storage, uri: str, data: bytes, media_type: str) -> dict[str, object]:
    """Write a file, and return the properties that every file has."""
    written = storage.write(uri, data)
    return {"uri": written, "media_type": media_type, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def content_of(file: MediaFile, services: Services) -> bytes:
    """The bytes of a file.

    Raises:
        FatalError: the file has changed since the step wrote it.
    """
    storage: Storage = services["storage"]
    data = storage.read(file.uri, max_bytes=MOST_BYTES)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise FatalError(f"{file.uri} changed since it was made; run the step that makes it again")
    return data


def sibling_uri(file: MediaFile, name: str) -> str:
    """The URI of another file in the same folder."""
    return f"{file.uri.rsplit('/', 1)[0]}/{name}"
