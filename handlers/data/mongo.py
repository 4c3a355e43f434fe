"""MongoDB: `find` and `aggregate`. Values are bound at the leaves of the query; code and writes are refused."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from flows.errors import StepTimeout, TransientError, suggest
from handlers.data.binding import BadQuery, Lookup, fill
from handlers.data.references import to_plain_data
from handlers.secrets import hide

_KEYS = ("collection", "filter", "projection", "sort", "limit", "pipeline", "database")
_FORBIDDEN = frozenset({"$where", "$function", "$accumulator", "$eval", "$out", "$merge", "mapReduce"})


def check_find(query: Any) -> Mapping[str, Any]:
    """The query, if it only reads and runs no code.

    Raises:
        BadQuery: it is not.
    """
    if not isinstance(query, Mapping):
        raise BadQuery("a MongoDB query is a mapping: {collection: …, filter: {…}}, or with `pipeline` an aggregation")
    parts = cast("Mapping[str, Any]", query)
    for name in parts:
        if name not in _KEYS:
            raise BadQuery(f"a MongoDB query has no {name!r}{suggest(str(name), _KEYS)}")
    if not isinstance(parts.get("collection"), str) or "{" in parts["collection"]:
        raise BadQuery("a MongoDB query names its `collection`, without placeholders")
    for name in sorted(_keys_in(parts) & _FORBIDDEN):
        raise BadQuery(
            f"{name!r} runs code or writes; queries only read: use $match, $group, $expr or a transform step"
        )
    if "pipeline" in parts and set(parts) & {"filter", "projection", "sort", "limit"}:
        raise BadQuery(
            "`pipeline` has stages for filter, projection, sort and limit; write $match, $project, $sort, $limit"
        )
    return parts


def read_mongo(client: Any, url: str, query: Any, lookup: Lookup, *, most_rows: int, timeout_s: float) -> list[Any]:
    """The documents as dicts; ids of MongoDB become texts.

    Raises:
        BadQuery: Braid or the server refuses it, or it returns too many documents.
        TransientError: the server is unreachable, or took longer than `timeout_s`.
    """
    from pymongo import errors

    parts = {name: _fill_leaves(value, lookup) for name, value in check_find(query).items()}
    check_find(parts)
    try:
        database = client[parts["database"]] if "database" in parts else client.get_default_database()
        rows: list[Any] = []
        for document in _cursor(database[parts["collection"]], parts, most_rows, int(timeout_s * 1000)):
            rows.append(to_plain_data(document))
            if len(rows) > most_rows:
                raise BadQuery(
                    f"the result has more than max_rows {most_rows} documents; add a limit or raise max_rows"
                )
        return rows
    except errors.ExecutionTimeout:
        raise StepTimeout(f"the query took longer than {timeout_s} s and was stopped") from None
    except errors.ConfigurationError as error:
        raise BadQuery(
            hide(f"MongoDB: {error}; name the database in the connection's URL or in the query", [url])
        ) from None
    except (errors.ConnectionFailure, errors.WTimeoutError) as error:
        raise TransientError(hide(f"MongoDB: {error}", [url])) from None
    except errors.PyMongoError as error:
        raise BadQuery(hide(f"MongoDB: {error}", [url])) from None


def _cursor(collection: Any, parts: Mapping[str, Any], most_rows: int, most_ms: int) -> Any:
    if "pipeline" in parts:
        return collection.aggregate([*parts["pipeline"], {"$limit": most_rows + 1}], maxTimeMS=most_ms)
    limit = min(int(parts.get("limit", most_rows + 1)), most_rows + 1)
    found = collection.find(parts.get("filter", {}), parts.get("projection"), limit=limit).max_time_ms(most_ms)
    sort = parts.get("sort")
    return found.sort(list(cast("Mapping[str, int]", sort).items())) if sort else found


def _fill_leaves(value: Any, lookup: Lookup) -> Any:
    """Bound values are numbers, texts or lists of them, never operators; in a regular expression they are quoted."""
    if isinstance(value, Mapping) and "$regex" in value:
        mapping = cast("Mapping[str, Any]", value)
        pattern = mapping["$regex"]
        quoted = (
            re.sub(r"^\{[\w.]+\}$", lambda found: f"{found[0]}\0", pattern) if isinstance(pattern, str) else pattern
        )
        # The marker makes a lone placeholder part of a longer text, so that its value is quoted too.
        regex = fill(quoted, lookup, text=re.escape)
        rest = {name: _fill_leaves(item, lookup) for name, item in mapping.items() if name != "$regex"}
        return {**rest, "$regex": regex.rstrip("\0") if isinstance(regex, str) else regex}
    if isinstance(value, Mapping):
        return {_key(name): _fill_leaves(item, lookup) for name, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_fill_leaves(item, lookup) for item in cast("list[Any]", value)]
    return fill(value, lookup)


def _key(name: Any) -> Any:
    fill({name: None}, lambda _: None)
    return name


def _keys_in(value: Any) -> frozenset[str]:
    return frozenset(_walk(value))


def _walk(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in cast("Mapping[Any, Any]", value).items():
            yield str(name)
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in cast("list[Any]", value):
            yield from _walk(item)
