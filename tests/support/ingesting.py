"""Ingestion for tests: the pipeline of the catalog by direct calls, with the test embedder, and what it called."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments.catalog import Catalog, load_catalog
from deployments.runs import Request, run_pipeline
from deployments.settings import Settings
from flows.author import RunResult
from flows.loaders import LoadedPipeline
from flows.run_store import RunRecord
from handlers.stores import IndexStore, open_index

ALWAYS = {"sweep", "list", "changes"}
"""The steps that every ingestion has to run."""
LONG_AGO = 1_700_000_000.0


def settings_in(folder: Path, **more: Any) -> Settings:
    return Settings(home=folder / "home").model_copy(update={"embedding_model": "hashing"} | more)


def ingest(
    settings: Settings,
    source: Path | str,
    *,
    pipeline: LoadedPipeline | None = None,
    record: bool = True,
    index: str = "docs",
    catalog: Catalog | None = None,
    resumes: RunRecord | None = None,
    **given: Any,
) -> RunResult:
    catalog = catalog or load_catalog(settings)
    request = Request(
        pipeline or catalog.find("ingest"),
        {"source": str(source), **given},
        index=index,
        engine="inline",
        resumes=resumes,
        recorded=record,
    )
    return run_pipeline(request, settings=settings, catalog=catalog)


def called(result: RunResult) -> Counter[str]:
    """How often each handler step ran, beside those that always do; loops' steps by the last part of their names."""
    assert result.status == "succeeded", [(each.id, each.error) for each in result.errors]
    steps = [each.id.split("[")[0] for each in result.outcomes if each.is_leaf and each.attempts]
    return Counter(step.rpartition(".")[2] for step in steps if step not in ALWAYS)


def write(folder: Path, files: Mapping[str, str], *, modified: float = LONG_AGO) -> None:
    """Files with old timestamps, so that a listing alone shows whether they changed."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (modified, modified))


def opened(settings: Settings) -> IndexStore:
    return open_index(settings.index_location("docs"))
