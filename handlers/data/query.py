"""`query`: rows from a database or a REST service by a declared query, with bound values, read-only by default."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from flows.author import Call, ReadParameter, StepDeclaration, handler
from flows.errors import MissingRead, OrchestrationError, TransientError
from flows.state import Context, follow_path
from handlers.data.binding import BadQuery, Lookup, fields_in, refuse_templates
from handlers.data.connections import Connections
from handlers.data.references import inline_or_reference, resolve
from handlers.data.rest import Rest, RestRequest, call_rest, check_request
from handlers.options import Options, spread
from handlers.secrets import hide

_TEXTS = ("query", "url", "params", "headers", "body")


def declare_query(options: Mapping[str, Any]) -> StepDeclaration:
    """The step reads the fields of the placeholders and writes `output`; only a query with `read_only: false` has an
    effect.
    """
    refuse_templates(options)
    source = str(options.get("source", ""))
    if source == "rest":
        if options.get("url") is not None:
            check_request(options["url"], options.get("headers") or {}, options.get("select"))
        elif "source" in options:
            raise BadQuery("source `rest` needs the option 'url'")
    elif "source" in options:
        if options.get("query") is None:
            raise BadQuery(f"source {source!r} needs the option 'query'")
        if isinstance(options["query"], str) and options["query"].lstrip()[:1].isalpha():
            from handlers.data.sql import check_sql

            check_sql(options["query"])
    changes = options.get("read_only", True) is False or options.get("method", "GET") == "POST"
    reads = tuple(ReadParameter(name, True, Any) for name in fields_in(*(options.get(name) for name in _TEXTS)))
    output = options.get("output")
    return StepDeclaration(
        reads, (output,) if isinstance(output, str) else (), (f"source.{source}",) if changes else ()
    )


@dataclass(frozen=True)
class SourceQuery(Options):
    """A query of a database: `source` names its connection, or is `rest`, which has other options."""

    source: str
    query: str | dict[str, Any] | None = None
    credential_ref: str | None = None
    read_only: bool = True


@dataclass(frozen=True)
class QueryLimits(Options):
    """How much an answer may hold, and how long it may take."""

    max_rows: int = 100_000
    max_bytes: int = 100_000_000
    max_inline_bytes: int = 1_000_000
    timeout_s: float = 60.0


@handler(declares=declare_query)
@spread
def query(
    context: Context, *, output: str, asked: SourceQuery, request: RestRequest, limits: QueryLimits, call: Call
) -> dict[str, Any]:
    """Rows of a database (`source` names a connection of the settings) or the answer of a REST service (`rest`).

    `query` is SQL, a Redis command, or a mapping for MongoDB; `{name}` in it is bound as a parameter. Rows are returned
    as a list of dicts, or as a `Reference` if they are larger than `max_inline_bytes`.
    """
    return {output: run_query(context.data, asked, request, limits, call)}


def run_query(
    fields: Mapping[str, Any], asked: SourceQuery, request: RestRequest, limits: QueryLimits, call: Call
) -> Any:
    """The rows or the answer of a query, with its placeholders filled from `fields`.

    Raises:
        BadQuery: Braid or the server refuses it.
        TransientError: the server is unreachable or busy.
    """

    def lookup(name: str) -> Any:
        head = name.split(".")[0]
        if head not in fields:
            raise MissingRead(f"the placeholder {{{name}}} needs the field {head!r}, which no step has written")
        try:
            return follow_path({head: resolve(fields[head], call)}, name)
        except OrchestrationError as error:
            raise BadQuery(f"the placeholder {{{name}}}: {error}") from error

    if asked.source == "rest":
        rest: Rest = call.services["rest"]
        answer = call_rest(rest, request, lookup, call, timeout_s=limits.timeout_s, most_bytes=limits.max_bytes)
        if isinstance(answer, list) and len(cast("list[Any]", answer)) > limits.max_rows:
            raise BadQuery(
                f"the answer has {len(cast('list[Any]', answer))} items, more than max_rows {limits.max_rows}; "
                "ask for less or raise max_rows"
            )
        return inline_or_reference(answer, call, most_inline_bytes=limits.max_inline_bytes, most_bytes=limits.max_bytes)
    connections: Connections = call.services["connections"]
    address = connections.url(asked.source, asked.credential_ref)
    try:
        rows = _rows(connections, address, asked, limits, lookup, call)
    except (BadQuery, TransientError) as error:
        message = hide(str(error), [address])
        error.args = (f"connection {asked.source!r}: {message}",)
        raise
    return inline_or_reference(rows, call, most_inline_bytes=limits.max_inline_bytes, most_bytes=limits.max_bytes)


def _rows(
    connections: Connections, address: str, asked: SourceQuery, limits: QueryLimits, lookup: Lookup, call: Call
) -> list[Any]:
    kind, query, most_rows = address.partition("://")[0].split("+")[0], asked.query, limits.max_rows
    if kind in ("redis", "rediss", "unix"):
        from handlers.data.redis_reads import read_redis

        return read_redis(connections.redis(address), address, query, lookup, most_rows=most_rows)
    if kind == "mongodb":
        from handlers.data.mongo import read_mongo

        client = connections.mongo(address)
        return read_mongo(client, address, query, lookup, most_rows=most_rows, timeout_s=limits.timeout_s)
    if not isinstance(query, str):
        raise BadQuery("an SQL query is a text")
    from handlers.data.sql import fetch
    from handlers.data.sql_rows import Bounds

    engine = connections.engine(address, read_only=asked.read_only)
    bounds = Bounds(most_rows, limits.max_bytes, limits.timeout_s)
    return fetch(engine, query, lookup, call, bounds=bounds, read_only=asked.read_only)
