"""What `--shards` refuses before anything is started."""

import asyncio
from pathlib import Path

import pytest

from deployments.catalog import load_catalog
from deployments.parameters import InvalidParameters
from deployments.settings import Settings
from deployments.sharded import ingest_in_shards, read_tolerance
from flows.policies import Tolerance


@pytest.mark.parametrize(
    ("text", "tolerance"), [(None, Tolerance(count=0)), ("2", Tolerance(count=2)), ("10%", Tolerance(ratio=0.1))]
)
def test_a_tolerance_is_a_number_or_a_share(text: str | None, tolerance: Tolerance) -> None:
    assert read_tolerance(text) == tolerance


@pytest.mark.parametrize("text", ["few", "-1", "200%", "x%", "1.5"])
def test_another_tolerance_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameters, match="tolerated failure: write a number of shards or a share such as 10%"):
        read_tolerance(text)


def test_pruning_is_refused_with_the_way_to_do_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    given = {"source": str(tmp_path), "prune": True}
    with pytest.raises(InvalidParameters, match="prune needs to see all documents at once.*then once without them"):
        asyncio.run(ingest_in_shards(given, 2, settings=settings, catalog=load_catalog(settings)))
