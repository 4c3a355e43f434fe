"""Stops statements in the database when their time is up or their result is no longer wanted."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Any

from flows.author import Call
from handlers.data.reading import MYSQL

logger = logging.getLogger(__name__)
_WATCH_S = 0.1


@contextmanager
def watched(connection: Any, call: Call, timeout_s: float) -> Iterator[Event]:
    """Interrupt the statement in the database when its time is up or the call is cancelled; then the event is set."""
    stop = stopper(connection)
    ended, stopped = Event(), Event()
    until = monotonic() + timeout_s

    def watch() -> None:
        while not ended.wait(_WATCH_S):
            if call.cancelled or monotonic() > until:
                stopped.set()
                stop()
                return

    watcher = Thread(target=watch, name="braid-sql-watch", daemon=True)
    watcher.start()
    try:
        yield stopped
    finally:
        ended.set()
        watcher.join()


def stopper(connection: Any) -> Callable[[], None]:
    """A function that stops the statement of a connection; callable from any thread."""
    driver = connection.connection.driver_connection
    if connection.dialect.name in MYSQL and hasattr(driver, "thread_id"):
        number, url = driver.thread_id(), connection.engine.url
        return lambda: _kill(url, number)
    for name in ("interrupt", "cancel_safe", "cancel"):
        if hasattr(driver, name):
            return getattr(driver, name)
    return lambda: None


def _kill(url: Any, number: int) -> None:
    """Stop the statement of a MySQL session, from another session."""
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError

    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"KILL QUERY {number:d}")
    except SQLAlchemyError as error:
        logger.warning("a statement of MySQL could not be stopped (%s)", type(error).__name__)
