"""`deployments.run` inside a Prefect flow: the record names the flow run."""

from pathlib import Path

import pytest

from deployments import run
from deployments.runs import find_run
from deployments.settings import Settings
from flows import handler
from flows.model import Pipeline

pytestmark = [
    pytest.mark.usefixtures("prefect_server"),
    # Prefect's own event and log clients leave sockets to the garbage collector when an event loop ends.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]


@handler(writes="doubled")
def doubled_in_prefect(number: int) -> int:
    return 2 * number


def test_the_record_of_a_run_knows_its_flow_run(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    pipeline = Pipeline.model_validate(
        {"name": "double", "parameters": {"number": {"type": "integer"}}, "steps": ["doubled_in_prefect"]}
    )
    result = run(pipeline, number="21", engine="prefect", settings=settings)
    assert (result.status, result["doubled"]) == ("succeeded", 42)
    record = find_run(result.run_id, settings)
    assert record.flow_run_id is not None
    assert record.flow_run_id == result.flow_run_id
