"""`braid doctor` calls the models, databases and clusters of the settings, and never shows their secrets."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from deployments.commands.doctor import examine
from deployments.commands.outside import call_services
from deployments.server.findings import Finding
from deployments.settings import Settings
from tests.support.openai_server import OpenAIServer
from tests.support.ports import free_port
from tests.support.s3 import S3Server


def findings(**settings: Any) -> list[Finding]:
    return list(call_services(Settings.model_validate(settings)))


def only(**settings: Any) -> Finding:
    (finding,) = findings(**settings)
    return finding


def connection(url: str) -> Finding:
    return only(connections=json.dumps({"sales": url}))


def test_nothing_is_called_that_is_not_set() -> None:
    assert findings() == []


def test_the_endpoint_is_asked_for_its_models_and_for_nothing_else(openai_server: OpenAIServer) -> None:
    endpoint = {"openai_base_url": openai_server.base_url, "openai_api_key": openai_server.api_key}
    finding = only(**endpoint, chat_model="test-model")
    assert finding.level == "ok"
    assert finding.text.endswith("lists 1 model; answers by test-model")
    assert [request.path for request in openai_server.requests] == ["/models"]
    finding = only(**endpoint, chat_model="test-model", embedding_model="tset-model")
    assert finding.level == "warning"
    assert "does not list 'tset-model' (BRAID_EMBEDDING_MODEL)" in finding.text
    assert "test-model" in finding.text
    speaks = only(**endpoint, content_provider="openai", content_models='{"elevenlabs": "tts-9"}')
    assert "does not list 'tts-9' (BRAID_CONTENT_MODELS)" in speaks.text
    assert only(**endpoint).text.endswith("no setting uses them; set BRAID_CHAT_MODEL or BRAID_EMBEDDING_MODEL")


def test_an_endpoint_that_refuses_the_key_is_an_error_without_the_key(openai_server: OpenAIServer) -> None:
    finding = only(openai_base_url=openai_server.base_url, openai_api_key="sk-not-the-right-one", chat_model="m")
    assert finding.level == "error"
    assert "answered 401" in finding.text
    assert "BRAID_OPENAI_API_KEY" in finding.text
    assert "not-the-right" not in finding.text


def test_an_endpoint_without_a_listing_is_named_as_not_tried(openai_server: OpenAIServer) -> None:
    openai_server.fail(404, path="/models")
    finding = only(openai_base_url=openai_server.base_url, openai_api_key=openai_server.api_key, chat_model="m")
    assert finding.level == "note"
    assert "has no list of its models, so m has not been tried" in finding.text


@pytest.mark.slow
def test_services_that_are_away_are_errors_with_their_cure() -> None:
    port = free_port()
    found = findings(
        openai_base_url=f"http://127.0.0.1:{port}/v1",
        chat_model="m",
        connections=json.dumps(
            {
                "cache": f"redis://:hush-hush-hush@127.0.0.1:{port}/0",
                "shop": f"postgresql+psycopg://me:hush-hush-hush@127.0.0.1:{port}/shop",
                "absent": "env:NO_SUCH_VARIABLE_IS_SET",
                "file": "sqlite:////no/such/file.db",
                "odd": "no url at all, hush-hush-hush",
            }
        ),
        dask_address=f"tcp://127.0.0.1:{port}",
    )
    assert [each.level for each in found] == ["error"] * 7
    assert "hush" not in repr(found)
    model, cache, shop, absent, file, odd, dask = (each.text for each in found)
    assert "check BRAID_OPENAI_BASE_URL" in model
    assert cache.startswith("cache: ")
    assert all(each.endswith("BRAID_CONNECTIONS") for each in (cache, shop, file, odd))
    assert "NO_SUCH_VARIABLE_IS_SET" in absent
    assert "BRAID_DASK_ADDRESS" in dask


def test_a_service_that_says_nothing_costs_no_more_than_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.commands.outside.TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        urls = {f"c{number}": f"redis://127.0.0.1:{port}/0" for number in range(20)}
        found = findings(connections=json.dumps(urls))
    assert [each.level for each in found] == ["error"] * 20
    assert all("no answer within 0.5 s" in each.text for each in found)


def test_a_sqlite_database_is_opened(tmp_path: Path) -> None:
    import sqlite3

    sqlite3.connect(tmp_path / "sales.db").close()
    finding = connection(f"sqlite:///{tmp_path / 'sales.db'}")
    assert finding.level == "ok"
    assert finding.text.startswith("sales: sqlite 3.")
    (tmp_path / "text.db").write_text("no database " * 100)
    assert connection(f"sqlite:///{tmp_path / 'text.db'}").level == "error"


def test_postgresql_is_called_by_a_reference(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALES_URL", postgres_url)
    finding = connection("env:SALES_URL")
    assert (finding.topic, finding.level) == ("connections", "ok")
    assert finding.text.startswith("sales: postgresql 1")


def test_redis_is_called(redis_url: str) -> None:
    assert connection(redis_url) == Finding("connections", "ok", "sales: redis answers")
    refused = connection(redis_url.replace("redis-secret", "another-secret"))
    assert refused.level == "error"
    assert "another-secret" not in refused.text


def test_mongodb_is_called(mongo_url: str) -> None:
    assert connection(mongo_url) == Finding("connections", "ok", "sales: mongodb answers")


def test_mariadb_is_called(mariadb_url: str) -> None:
    assert connection(mariadb_url).text.startswith("sales: mariadb 1")


def test_places_in_s3_are_listed(s3_server: S3Server) -> None:
    access = {
        "s3_endpoint_url": s3_server.endpoint_url,
        "s3_key": s3_server.key,
        "s3_secret": s3_server.secret,
        "s3_region": "us-east-1",
    }
    finding = only(**access, artifacts_url=f"s3://{s3_server.bucket}/pictures")
    assert (finding.topic, finding.level) == ("artifacts", "ok")
    assert f"s3://{s3_server.bucket}/pictures" in finding.text
    wrong = only(**access | {"s3_secret": "not-the-secret"}, uploads_url=f"s3://{s3_server.bucket}/uploads")
    assert (wrong.topic, wrong.level) == ("uploads", "error")
    assert "BRAID_S3_" in wrong.text
    assert "not-the-secret" not in wrong.text
    unused = only(**access)
    assert unused.level == "note"
    assert "no setting names a place in it" in unused.text


@pytest.mark.slow
def test_a_dask_cluster_is_called() -> None:
    from distributed import LocalCluster

    cluster: Any = LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0"
    )
    with cluster:
        finding = only(dask_address=cluster.scheduler_address)
    assert finding == Finding("clusters", "ok", "dask: 1 worker")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a cluster of Ray on this machine alone is made on Linux only")
def test_a_ray_cluster_that_is_away_is_an_error() -> None:
    finding = only(ray_address=f"127.0.0.1:{free_port()}")
    assert finding.level == "error"
    assert "BRAID_RAY_ADDRESS" in finding.text


def test_the_findings_are_among_those_of_doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    settings = Settings(home=tmp_path, connections={"sales": f"redis://127.0.0.1:{free_port()}/0"})  # type: ignore[dict-item]
    assert [each.level for each in examine(settings) if each.topic == "connections"] == ["error"]
