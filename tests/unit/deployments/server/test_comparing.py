"""Tags of a deployment on the server: other people's tags are left alone, and the tag of another project is removed when its deployment is taken over."""

from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.responses import DeploymentResponse

from deployments.server.comparing import deployment_differences
from deployments.server.desired import DesiredDeployment

FIELDS: dict[str, Any] = {
    "description": None,
    "version": None,
    "entrypoint": "x.py:x",
    "path": "/srv/a",
    "pull_steps": None,
    "work_pool_name": None,
    "parameter_openapi_schema": {},
    "enforce_parameter_schema": True,
}


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (["braid", "ours"], ["braid"], None),
        (["braid"], ["braid", "braid-project:books"], "tags: ['braid'] → ['braid', 'braid-project:books']"),
        (["braid", "braid-project:books"], ["braid"], "tags: ['braid', 'braid-project:books'] → ['braid']"),
        (
            ["braid", "braid-project:books"],
            ["braid", "braid-project:films"],
            "tags: ['braid', 'braid-project:books'] → ['braid', 'braid-project:films']",
        ),
        (["braid", "braid-project:books"], ["braid", "braid-project:books"], None),
    ],
)
def test_tags(before: list[str], after: list[str], line: str | None) -> None:
    values = {"id": uuid4(), "flow_id": uuid4(), "name": "ingest", **FIELDS, "tags": before}
    known = DeploymentResponse.model_validate(values)
    desired = DesiredDeployment("ingest", {**FIELDS, "tags": after}, None)
    assert deployment_differences(known, desired) == ([] if line is None else [line])
