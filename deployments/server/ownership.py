"""The owner of a deployment, since several projects, or clones of one project, may share a Prefect server.

A project is identified by its name (`BRAID_PROJECT`), which is a tag of its deployments; without a name, by its folder.
"""

from dataclasses import dataclass

from prefect.client.schemas.responses import DeploymentResponse

from deployments.server.desired import ROOT, TAG
from flows.errors import OrchestrationError

PROJECT_TAG = "braid-project:"


class ForeignDeployment(OrchestrationError):
    """Deployments that belong to another project; the message has a line for each."""


@dataclass(frozen=True)
class Project:
    """This project, as its deployments identify it."""

    name: str | None
    folder: str = str(ROOT)

    @property
    def tags(self) -> list[str]:
        return [TAG, *([PROJECT_TAG + self.name] if self.name is not None else [])]

    def owns(self, known: DeploymentResponse) -> bool:
        """Whether a deployment on the server is one of this project's."""
        return TAG in known.tags and not self._other(known)

    def why_not(self, known: DeploymentResponse) -> str:
        """The reason why a deployment does not belong to this project, with the cure; empty if it does."""
        name = f"{known.name}/{known.name}"
        if TAG not in known.tags:
            return (
                f"the server has a deployment {name} that Braid did not make (it lacks the tag {TAG!r}); rename the "
                f"pipeline, or delete that deployment with `prefect deployment delete {name}`"
            )
        if not (other := self._other(known)):
            return ""
        return (
            f"the deployment {name} belongs to {other}, and this is {self}; rename the pipeline, use another server, "
            "or take it over with --take-over"
        )

    def _other(self, known: DeploymentResponse) -> str:
        """The other project that a deployment belongs to, in words; empty if it is this one."""
        theirs = project_of(known)
        if theirs is not None:
            return "" if theirs == self.name else f"the project {theirs!r}"
        # Deployed by a project without a name, or by an earlier version; `prefect deploy` does not write the folder.
        return "" if known.path in (self.folder, ".", None) else f"the folder {known.path}"

    def __str__(self) -> str:
        return f"the project {self.name!r}" if self.name is not None else f"the folder {self.folder}"


def project_of(known: DeploymentResponse) -> str | None:
    """The name of the project in the tags of a deployment."""
    return next((tag.removeprefix(PROJECT_TAG) for tag in known.tags if tag.startswith(PROJECT_TAG)), None)
