"""Redis: single reading commands. Arguments are bound after the split; sizes are checked before data are fetched."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, cast

from flows.errors import TransientError, suggest
from handlers.data.binding import PLACEHOLDER, BadQuery, Lookup, fill
from handlers.secrets import hide

# Each command with the one that counts how much it would fetch.
_SIZES = {
    "LRANGE": "LLEN",
    "SMEMBERS": "SCARD",
    "HGETALL": "HLEN",
    "HKEYS": "HLEN",
    "HVALS": "HLEN",
    "ZRANGE": "ZCARD",
    "ZREVRANGE": "ZCARD",
    "ZRANGEBYSCORE": "ZCARD",
    "XRANGE": "XLEN",
}
_COMMANDS = frozenset(
    {
        "GET",
        "MGET",
        "HGET",
        "HMGET",
        "LINDEX",
        "EXISTS",
        "TYPE",
        "TTL",
        "STRLEN",
        "LLEN",
        "SCARD",
        "HLEN",
        "ZCARD",
        "SISMEMBER",
        "HEXISTS",
        "ZSCORE",
        "ZRANK",
        "SCAN",
        *_SIZES,
    }
)
_GLOB = re.compile(r"([*?\[\]\\^])")


def check_command(query: Any) -> list[str]:
    """The command and its arguments, with their placeholders.

    Raises:
        BadQuery: it is not a command, or not a reading one.
    """
    if isinstance(query, Mapping):
        parts = cast("Mapping[str, Any]", query)
        words = [str(parts.get("command", "")), *map(str, parts.get("args", ()))]
        unknown = sorted(set(parts) - {"command", "args"})
        if unknown:
            raise BadQuery(f"a Redis query has no {unknown[0]!r}{suggest(unknown[0], ['command', 'args'])}")
    else:
        try:
            words = shlex.split(str(query))
        except ValueError as error:
            raise BadQuery(f"{query!r} is not a Redis command: {error}") from error
    name = words[0].upper() if words else ""
    if name not in _COMMANDS:
        raise BadQuery(
            f"a Redis query is one command that reads; {name or 'nothing'!r} is not such a command"
            f"{suggest(name, sorted(_COMMANDS), most=len(_COMMANDS))}"
        )
    if len(words) < 2:
        raise BadQuery(f"{name} needs the name of a key, or for SCAN a pattern")
    return [name, *words[1:]]


def read_redis(client: Any, url: str, query: Any, lookup: Lookup, *, most_rows: int) -> list[Any]:
    """The answer as rows: one for a hash, one per `value` for a list, none for a missing key.

    Raises:
        BadQuery: it is refused or too large.
        TransientError: the server is unreachable.
    """
    import redis

    name, *templates = check_command(query)
    # A value is always one argument, and in a pattern its characters have no special meaning.
    escape = _escape_pattern if name == "SCAN" else str
    arguments: list[Any] = []
    for template in templates:
        if PLACEHOLDER.fullmatch(template):
            value = fill(template, lookup)
            arguments.extend(
                escape(str(item)) for item in (cast("list[Any]", value) if isinstance(value, list) else [value])
            )
        else:
            arguments.append(fill(template, lookup, text=escape))
    try:
        if name == "SCAN":
            return _scan(client, arguments[0], most_rows)
        if name in _SIZES:
            size = client.execute_command(_SIZES[name], arguments[0])
            ranged = name in ("LRANGE", "ZRANGE", "ZREVRANGE", "ZRANGEBYSCORE", "XRANGE")
            if size > most_rows and not (ranged and _span(arguments) <= most_rows):
                raise BadQuery(
                    f"{arguments[0]!r} has {size} entries, more than max_rows {most_rows}; "
                    "ask for a part of it (LRANGE, ZRANGE) or raise max_rows"
                )
        return _rows(name, arguments, client.execute_command(name, *arguments))
    except (redis.ConnectionError, redis.TimeoutError) as error:
        if isinstance(error, redis.AuthenticationError):
            raise BadQuery(hide(f"Redis refuses the credentials: {error}", [url])) from None
        raise TransientError(hide(f"Redis: {error}", [url])) from None
    except redis.RedisError as error:
        raise BadQuery(hide(f"Redis: {error}", [url])) from None


def _escape_pattern(value: str) -> str:
    return _GLOB.sub(r"\\\1", value)


def _span(arguments: Sequence[Any]) -> int | float:
    try:
        first, last = int(arguments[1]), int(arguments[2])
    except (IndexError, ValueError):
        return float("inf")
    return last - first + 1 if (first < 0) == (last < 0) else float("inf")


def _scan(client: Any, pattern: str, most_rows: int) -> list[Any]:
    rows: dict[str, None] = {}
    for key in client.scan_iter(match=pattern, count=1000):
        rows[key] = None  # SCAN may return a key twice
        if len(rows) > most_rows:
            raise BadQuery(
                f"more than max_rows {most_rows} keys match {pattern!r}; narrow the pattern or raise max_rows"
            )
    return [{"key": key} for key in sorted(rows)]


def _rows(name: str, arguments: Sequence[Any], answer: Any) -> list[Any]:
    if answer is None:
        return []
    if isinstance(answer, dict):
        return [dict(cast("dict[str, Any]", answer))] if answer else []
    if name == "MGET":
        return [{"key": key, "value": value} for key, value in zip(arguments, answer, strict=True)]
    if name == "HMGET":
        return [dict(zip(arguments[1:], answer, strict=True))]
    if name == "XRANGE":
        return [{"id": entry, **fields} for entry, fields in answer]
    if isinstance(answer, (list, tuple, set, frozenset)):
        items = sorted(cast("set[Any]", answer)) if isinstance(answer, (set, frozenset)) else cast("list[Any]", answer)
        return [
            {"value": item[0], "score": float(item[1])} if isinstance(item, (list, tuple)) else {"value": item}
            for item in items
        ]
    return [{"value": answer}]
