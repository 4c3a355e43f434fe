"""The balance of an ingestion on a Prefect server: an artifact of the flow run, with the names of left-out objects."""

from pathlib import Path
from uuid import UUID

import pytest

from deployments.catalog import load_catalog
from deployments.runs import Request, run_pipeline
from tests.support.ingesting import settings_in, write

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


def test_the_balance_is_an_artifact_of_the_run(tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    write(tmp_path / "in", {"a.txt": "Words.", "b|c.xyz": "?", "broken.pdf": "%PDF-1.4 none"})
    settings = settings_in(tmp_path)
    catalog = load_catalog(settings)
    request = Request(catalog.find("ingest"), {"source": str(tmp_path / "in")}, index="docs", engine="prefect")
    result = run_pipeline(request, settings=settings, catalog=catalog)
    assert result.status == "partial"
    mine = ArtifactFilterFlowRunId(any_=[UUID(str(result.flow_run_id))])
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=mine))
    page = next(str(each.data) for each in found if each.key == "braid-balance")
    assert page.splitlines()[2:] == [
        "| objects | number |",
        "|---|---:|",
        "| **seen** | **3** |",
        "| processed | 1 |",
        "| unchanged | 0 |",
        "| set aside | 1 |",
        "| left out: format (no reader knows its format) | 1 |",
        "",
        "Left out by the rule format:",
        "",
        "- b\\|c.xyz: .xyz",
    ]
