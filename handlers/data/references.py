"""Results by reference: rows too large for a context are written to a file below the artifacts folder."""

import base64
import datetime as dt
import decimal
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from flows.author import Call, handler
from flows.errors import StorageError
from flows.storage import Storage
from handlers.data.binding import BadQuery

MOST_READ_BYTES = 1_000_000_000
_TYPE = "$type"


@dataclass(frozen=True)
class Reference:
    """Rows in a file below the artifacts instead of in the context; data steps read them automatically."""

    uri: str
    rows: int
    bytes: int
    sha256: str


def inline_or_reference(rows: Any, call: Call, *, most_inline_bytes: int, most_bytes: int) -> Any:
    """The rows (or any other answer), or a `Reference` if they are larger than a context should carry.

    The name of the file depends on its content, so a repetition changes nothing.

    Raises:
        BadQuery: they are larger than `most_bytes`.
    """
    data = json.dumps(_encoded(rows), separators=(",", ":"), ensure_ascii=False).encode()
    if len(data) > most_bytes:
        raise too_large(most_bytes)
    if len(data) <= most_inline_bytes:
        return rows
    digest = hashlib.sha256(data).hexdigest()
    storage: Storage = call.services["storage"]
    uri = storage.write(Storage.join(call.services["artifacts_url"], "results", f"{digest}.json"), data)
    count = len(cast("list[Any]", rows)) if isinstance(rows, list) else 1
    call.logger.info("%d rows (%d bytes) kept at %s", count, len(data), uri)
    return Reference(uri, count, len(data), digest)


def too_large(most_bytes: int) -> BadQuery:
    """The error for a result of more than `most_bytes`."""
    return BadQuery(
        f"the result has more than max_bytes {most_bytes}; "
        "ask for less (WHERE, LIMIT, fewer columns) or raise max_bytes"
    )


def resolve(value: Any, call: Call) -> Any:
    """The rows behind a reference; any other value unchanged.

    Raises:
        StorageError: the file is missing or changed, or lies outside the artifacts.
    """
    if not isinstance(value, Reference):
        return value
    root = Storage.join(call.services["artifacts_url"])
    if not value.uri.startswith(f"{root.rstrip('/')}/") or ".." in value.uri.split("/"):
        raise StorageError(
            f"{value.uri}: is not below the artifacts ({root}); set BRAID_ARTIFACTS_URL to its earlier value"
        )
    storage: Storage = call.services["storage"]
    data = storage.read(value.uri, max_bytes=MOST_READ_BYTES)
    if hashlib.sha256(data).hexdigest() != value.sha256:
        raise StorageError(f"{value.uri}: was changed since it was written; run the query again")
    return _decoded(json.loads(data))


@handler(writes="rows", effects=())
def load_reference(result: Any, *, call: Call) -> Any:
    """The rows of a query's result, by reference or not, for handlers that do not support references."""
    return resolve(result, call)


# JSON has no times, decimals and bytes; a reference returns them as the query did.
_KINDS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    dt.datetime: ("datetime", dt.datetime.isoformat, dt.datetime.fromisoformat),
    dt.date: ("date", dt.date.isoformat, dt.date.fromisoformat),
    dt.time: ("time", dt.time.isoformat, dt.time.fromisoformat),
    dt.timedelta: ("seconds", dt.timedelta.total_seconds, lambda seconds: dt.timedelta(seconds=seconds)),
    decimal.Decimal: ("decimal", str, decimal.Decimal),
    uuid.UUID: ("uuid", str, uuid.UUID),
    bytes: ("bytes", lambda data: base64.b64encode(data).decode(), base64.b64decode),
}
_READERS = {name: read for name, _, read in _KINDS.values()}


def _encoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        pairs = [(key, _encoded(item)) for key, item in cast("Mapping[Any, Any]", value).items()]
        if all(isinstance(key, str) and key != _TYPE for key, _ in pairs):
            return dict(pairs)
        return {_TYPE: "mapping", "value": [[_encoded(key), item] for key, item in pairs]}
    if isinstance(value, (list, tuple)):
        return [_encoded(item) for item in cast("list[Any]", value)]
    kind = _KINDS.get(type(value))
    return value if kind is None else {_TYPE: kind[0], "value": kind[1](value)}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    mapping = cast("dict[str, Any]", value)
    if _TYPE not in mapping:
        return {key: _decoded(item) for key, item in mapping.items()}
    if mapping[_TYPE] == "mapping":
        return {_decoded(key): _decoded(item) for key, item in mapping["value"]}
    return _READERS[mapping[_TYPE]](mapping["value"])


def to_plain_data(value: Any) -> Any:
    """A value of a database as data that a context can hold; unknown types become texts."""
    if isinstance(value, Mapping):
        return {str(key): to_plain_data(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain_data(item) for item in cast("list[Any]", value)]
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if value is None or isinstance(value, (bool, int, float, str)) or type(value) in _KINDS:
        return value
    return str(value)
