"""The main job on real parts: real documents through a Prefect flow, from a folder and from S3, into an index, searched."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.catalog import load_catalog
from deployments.runs import Request, run_pipeline
from deployments.settings import Settings
from flows.author import RunResult
from tests.support.paths import DOCUMENTS
from tests.support.s3 import S3Server

CHOSEN = [
    "databases/postgresql-brief-history.html",
    "databases/zodb-introduction.docx",
    "compression/xz-history.txt",
    "slides/rst-s5-slide-shows.pptx",
    "databases/sqlite-faster-than-the-file-system.pdf",
    "queues/rq-workers.md",
    "broken/truncated-x11-compound-text-encoding.pdf",
]


def run(name: str, settings: Settings, engine: Any = "inline", **parameters: Any) -> RunResult:
    catalog = load_catalog(settings)
    request = Request(catalog.find(name), parameters, index="docs", engine=engine)
    return run_pipeline(request, settings=settings, catalog=catalog)


def ask(settings: Settings, question: str) -> list[str]:
    found = run("search", settings, query=question, top_k=3)
    assert found.status == "succeeded", found.errors
    return [hit.name for hit in found.context.data["results"]]


@pytest.mark.usefixtures("prefect_server")
# Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_folder_goes_through_a_prefect_flow_into_an_index_and_is_found(tmp_path: Path) -> None:
    for name in CHOSEN:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(DOCUMENTS / name, tmp_path / "in" / name)
    settings = Settings(home=tmp_path / "home")
    result = run("ingest", settings, engine="prefect", source=str(tmp_path / "in"))
    assert result.status == "partial"
    assert [failure.item for failure in result.failures] == [CHOSEN[-1]]
    assert result.cost["chunks"] > 50
    questions = json.loads((DOCUMENTS / "questions.json").read_text(encoding="utf-8"))
    asked = [entry for entry in questions if entry["document"] in CHOSEN]
    assert len(asked) >= 5
    assert [ask(settings, entry["question"])[0] for entry in asked] == [entry["document"] for entry in asked]


def test_a_prefix_on_s3_is_ingested_with_its_images_on_s3(tmp_path: Path, s3_server: S3Server) -> None:
    from flows.storage import Storage

    storage = Storage(s3_server.options)
    for name in CHOSEN[2:5]:
        storage.write(f"s3://{s3_server.bucket}/main-job/{name}", (DOCUMENTS / name).read_bytes())
    settings = Settings(
        home=tmp_path,
        s3_endpoint_url=s3_server.options.s3_endpoint_url,
        s3_key=s3_server.options.s3_key,
        s3_secret=SecretStr(s3_server.options.s3_secret or ""),
        artifacts_url=f"s3://{s3_server.bucket}/main-job-artifacts",
    )
    result = run("ingest", settings, source=f"s3://{s3_server.bucket}/main-job")
    assert result.status == "succeeded", result.errors
    images = list(storage.list(f"s3://{s3_server.bucket}/main-job-artifacts"))
    assert len(images) >= 5
    question = "Is it quicker to keep thumbnail images inside a database than as separate files on disk?"
    assert ask(settings, question)[0] == "databases/sqlite-faster-than-the-file-system.pdf"
