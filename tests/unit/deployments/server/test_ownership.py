"""Whose a deployment is: of this project, of another one, of another clone, or not of Braid at all."""

from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.responses import DeploymentResponse

from deployments.server.ownership import Project


def deployment(*tags: str, path: str | None = "/srv/a") -> DeploymentResponse:
    values: dict[str, Any] = {"id": uuid4(), "flow_id": uuid4(), "name": "ingest", "tags": list(tags), "path": path}
    return DeploymentResponse.model_validate(values)


@pytest.mark.parametrize(
    ("project", "known", "why_not"),
    [
        (Project(None, "/srv/a"), deployment("braid"), ""),
        (Project("books", "/srv/a"), deployment("braid"), ""),
        (Project("books", "/srv/b"), deployment("braid", "braid-project:books"), ""),
        (Project(None, "/srv/b"), deployment("braid", path="."), ""),
        (Project(None, "/srv/b"), deployment("braid"), "belongs to the folder /srv/a, and this is the folder /srv/b"),
        (Project("books", "/srv/b"), deployment("braid"), "belongs to the folder /srv/a, and this is the project"),
        (
            Project(None, "/srv/a"),
            deployment("braid", "braid-project:books"),
            "belongs to the project 'books', and this is the folder /srv/a",
        ),
        (Project("films", "/srv/a"), deployment("braid", "braid-project:books"), "belongs to the project 'books'"),
        (Project(None, "/srv/a"), deployment("other"), "that Braid did not make"),
    ],
)
def test_ownership(project: Project, known: DeploymentResponse, why_not: str) -> None:
    assert project.owns(known) == (why_not == "")
    assert why_not in project.why_not(known)
    assert bool(project.why_not(known)) == bool(why_not)
