"""Checks that a database answers, with the cheapest request that needs the rights of a query."""

import contextlib
from typing import Any

from handlers.data.binding import BadQuery
from handlers.data.connections import Connections


def call_database(connections: Connections, url: str) -> str:
    """The kind and version of the database behind `url`, after it has answered.

    Raises as its driver does, and:
        BadConnection: the URL cannot be used.
        FatalError: a package is missing.
    """
    scheme = url.partition("://")[0]
    if scheme in ("redis", "rediss", "unix"):
        connections.redis(url).ping()
        return "redis answers"
    if scheme.startswith("mongodb"):
        _call_mongo(connections.mongo(url))
        return "mongodb answers"
    return _call_sql(connections, url)


def _call_mongo(client: Any) -> None:
    from pymongo.errors import ConfigurationError

    client.admin.command("ping")
    with contextlib.suppress(ConfigurationError):  # the URL names no database, so queries must name it
        client.get_default_database().list_collection_names()


def _call_sql(connections: Connections, url: str) -> str:
    import sqlalchemy as sa

    try:
        engine = connections.engine(url, read_only=True)
    except BadQuery:  # such a connection works only for steps with `read_only: false`
        engine = connections.engine(url, read_only=False)
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":  # a constant query would not read the file
            connection.execute(sa.text("SELECT count(*) FROM sqlite_master"))
        connection.execute(sa.select(sa.literal(1)))
        dialect: Any = connection.dialect
        name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
        version = ".".join(map(str, dialect.server_version_info or ()))
    return f"{name} {version} answers".replace("  ", " ")
