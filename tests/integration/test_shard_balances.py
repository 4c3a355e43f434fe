"""The parts of a sharded ingestion are the documents that a run over the folder has, and their balances add up."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployments.runs import make_services
from deployments.settings import Settings
from deployments.shards.listing import list_documents, read_listing
from deployments.shards.report import CombinedReport, make_report, report_json
from deployments.shards.tracks import Track, Tracks
from deployments.shards.watch import ShardRun, ShardStatus
from flows.author import Call
from flows.model import Tolerance
from flows.state import Identity
from flows.storage import Storage
from handlers.ingestion import balance_uri
from tests.support.identities import STORES, balance, names_of, settings_for, tags_of, worked
from tests.support.ingesting import ingest, opened, settings_in, write


@pytest.fixture(params=STORES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return settings_for(request.param, request, tmp_path)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    files = {f"{number % 3}/note-{number}.txt": f"Words of number {number}." for number in range(12)}
    write(tmp_path / "docs", {**files, "x.iso": "?", ".tags.yaml": "team: x\n", "broken.pdf": "%PDF-1.4 none"})
    write(tmp_path / "other", {"0/note-0.txt": "Other words."})
    return tmp_path / "docs"


def begin(settings: Settings, docs: Path) -> Track:
    services = make_services(settings, "docs")
    call = Call("list", identity=Identity("ingest", "", "docs", services))
    values = {"source": str(docs), "pattern": "**/*"}
    track = Tracks(services["storage"], f"{docs.parent}/tracks", values).begin(list_documents(values, call), 3)
    services.close()
    return track


def report(settings: Settings, docs: Path, track: Track, lost: int = 0) -> CombinedReport:
    """The report, when the run of shard number `lost` has left nothing."""
    storage = Storage()
    runs: list[ShardRun] = []
    for shard in track.shards:
        status: ShardStatus = "failed" if shard.number == lost else "partial"
        runs.append(ShardRun(shard, "", status=status, message="its process ended" if shard.number == lost else ""))
        if shard.number == lost:
            storage.delete(balance_uri(shard.source))
    with closing(opened(settings)) as store:
        listing = read_listing({"source": str(docs)}, store)
        made: dict[str, Any] = {"index": "docs", "store": store, "storage": storage, "seconds": 1.0}
        return make_report(track, runs, listing, tolerated=Tolerance(count=3), **made)


def test_shards_make_the_documents_that_a_folder_run_makes(settings: Settings, docs: Path, tmp_path: Path) -> None:
    ingest(settings, tmp_path / "other")
    track = begin(settings, docs)
    assert len(track.shards) == 3
    for shard in track.shards:
        assert balance(ingest(settings, shard.source))["seen"] == shard.documents
    new = settings_in(tmp_path / "new")
    for source in (tmp_path / "other", docs):
        ingest(new, source)
    assert names_of(settings) == names_of(new)
    assert tags_of(settings) == tags_of(new)
    assert {"docs/0/note-0.txt", "other/0/note-0.txt", "1/note-1.txt"} <= set(names_of(settings).values())
    for source in (docs, tmp_path / "other"):
        assert not worked(ingest(settings, source))


def test_the_balances_of_shards_add_up(settings: Settings, docs: Path) -> None:
    track = begin(settings, docs)
    for shard in track.shards:
        ingest(settings, shard.source)
    added = report(settings, docs, track)
    counted = replace(added.balance, source="", run_id="", details={})
    assert counted.is_exact
    assert (counted.seen, counted.processed, counted.unchanged, counted.set_aside) == (15, 12, 0, 1)
    assert counted.left_out == {"format": 1, "sidecar": 1}
    told = report_json(added)
    assert (told["documents"], told["processed"], told["failed"]) == (13, 12, 1)
    assert json.loads(json.dumps(told))["balance"]["exact"]


def test_documents_of_a_lost_shard_are_set_aside_with_the_reason(settings: Settings, docs: Path) -> None:
    track = begin(settings, docs)
    for shard in track.shards[1:]:
        ingest(settings, shard.source)
    lost = track.shards[0]
    added = report(settings, docs, track, lost=lost.number)
    assert added.status == "partial"
    assert added.balance.is_exact
    assert added.shards[0].failed == lost.documents
    with closing(opened(settings)) as store:
        found = [row for row in store.documents(status="failed") if "shard 1" in row.reason]
        assert len(found) == lost.documents
        assert found[0].reason == "was not ingested: shard 1 ended before (its process ended)"
    assert balance(ingest(settings, docs))["processed"] >= lost.documents - 1
