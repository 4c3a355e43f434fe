"""A crashed ingestion is resumed after another run has swept or published its staged data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.settings import Settings
from flows.author import RunResult
from flows.errors import FatalError
from flows.run_store import RunStore
from handlers.stores.sqlite import SqliteIndexStore
from tests.support.ingesting import called, ingest, opened, settings_in, write

STORES = ("store_documents", "store_dense_vectors", "store_sparse_vectors", "store_graph")
FILES = {f"{name}.txt": f"Ann Bob met at York. The {name} of Selby.\n" for name in ("storm", "river", "bridge")}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "in", FILES)
    return tmp_path / "in"


def crash(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch, *, at: str = "publish", **given: Any
) -> str:
    """The id of a run that stages everything and publishes nothing."""

    def crashing(*_: Any, **__: Any) -> None:
        raise FatalError("the lights went out")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteIndexStore, at, crashing)
        result = ingest(settings, source, **given)
    assert result.status == "failed"
    return result.run_id


def resume(settings: Settings, run_id: str, source: Path, **given: Any) -> RunResult:
    store = RunStore(settings.run_store_url)
    record = store.get(run_id)
    store.close()
    return ingest(settings, source, resumes=record, **given)


def rebuilt(settings: Settings, source: Path) -> str:
    fresh = settings.model_copy(update={"index_url": f"memory://{source}-{{index}}"})
    ingest(fresh, source, record=False, force=True)
    return opened(fresh).fingerprint()


def sweep(settings: Settings) -> None:
    assert opened(settings).sweep(older_than_s=0).versions == len(FILES)


@pytest.mark.parametrize("between", [sweep, lambda _: None], ids=["swept", "left alone"])
def test_what_was_swept_is_staged_again(
    between: Callable[[Settings], None], settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = crash(settings, source, monkeypatch)
    between(settings)
    resumed = resume(settings, run_id, source)
    assert resumed.status == "succeeded"
    again = (*STORES, "publish_documents", "record_failures")
    assert {name: called(resumed)[name] for name in again} == dict.fromkeys(again, 1)
    fresh = [outcome.id for outcome in resumed.outcomes if outcome.is_leaf and outcome.attempts and not outcome.reused]
    assert sorted(each.rpartition(".")[2].partition("[")[0] for each in fresh) == sorted(again)
    assert opened(settings).fingerprint() == rebuilt(settings, source)


def test_what_another_run_has_published_meanwhile_stays(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(settings, source)
    write(source, {"storm.txt": "Ann of Ryde.\n", "river.txt": "Bob of Goole.\n"}, modified=1.71e9)
    run_id = crash(settings, source, monkeypatch)
    write(source, {"storm.txt": "Cid of Hull, who came last.\n"}, modified=1.72e9)
    assert ingest(settings, source).status == "succeeded"
    newest = opened(settings).fingerprint()
    assert resume(settings, run_id, source).status == "succeeded"
    assert opened(settings).fingerprint() == newest == rebuilt(settings, source)


def test_what_has_gone_meanwhile_does_not_come_back(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = crash(settings, source, monkeypatch)
    (source / "storm.txt").rename(source / "gale.txt")
    assert ingest(settings, source).status == "succeeded"
    newest = opened(settings).fingerprint()
    assert resume(settings, run_id, source).status == "succeeded"
    assert opened(settings).fingerprint() == newest == rebuilt(settings, source)


def test_refreshed_facets_are_staged_again(settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest(settings, source)
    run_id = crash(settings, source, monkeypatch, at="restate", only_step="extract_entities")
    opened(settings).sweep(older_than_s=0)
    resumed = resume(settings, run_id, source, only_step="extract_entities")
    assert resumed.status == "succeeded"
    assert [
        outcome.id
        for outcome in resumed.outcomes
        if "store_graph" in outcome.id and outcome.attempts and not outcome.reused
    ]
    assert opened(settings).fingerprint() == rebuilt(settings, source)
