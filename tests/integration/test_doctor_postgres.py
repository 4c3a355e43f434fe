"""`braid doctor` reports whether the PostgreSQL server meets the requirements of an index."""

import pytest

from deployments.commands.doctor import examine
from deployments.settings import load_settings


def test_pgvector_is_looked_for(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy as sa

    monkeypatch.setenv("BRAID_INDEX_URL", postgres_url)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def told() -> str:
        return next(one.text for one in examine(load_settings()) if one.topic == "indexes")

    assert told().endswith("is available; the first index runs CREATE EXTENSION vector")
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE EXTENSION vector")
    engine.dispose()
    assert "CREATE EXTENSION" not in told()
