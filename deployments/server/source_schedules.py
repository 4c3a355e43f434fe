"""The schedules in `sources.yaml`, as schedules of the deployment of `ingest`."""

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from deployments.server.schedule_file import DeploymentSchedules, ScheduleEntry, schedule_trouble
from deployments.source_file import NamedSource

PIPELINE = "ingest"
SLUG = "source-"
"""The prefix of the names of these schedules."""


def schedule_problems(source: NamedSource) -> Iterable[tuple[tuple[str, ...], str]]:
    """The reasons why a source's schedule cannot be used; none if it can, or if it has no schedule."""
    if source.entry.schedule is None:
        return
    try:
        entry = _entry(source)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            keys = tuple(map(str, error["loc"]))
            message = str(error["msg"]).removeprefix("Value error, ")
            yield ("schedule", *keys), f"{'.'.join(('schedule', *keys))}: {message}"
        return
    if trouble := schedule_trouble(entry):
        yield ("schedule",), trouble


def with_sources(
    schedules: Mapping[str, DeploymentSchedules], sources: Mapping[str, NamedSource]
) -> dict[str, DeploymentSchedules]:
    """The schedules of deployments, with the schedule of each source added to the deployment `ingest`."""
    own = {f"{SLUG}{name}": _entry(each) for name, each in sources.items() if each.entry.schedule is not None}
    if not own:
        return dict(schedules)
    known = schedules.get(PIPELINE, DeploymentSchedules())
    return {**schedules, PIPELINE: known.model_copy(update={"schedules": {**known.schedules, **own}})}


def _entry(source: NamedSource) -> ScheduleEntry:
    given = {"parameters": {**source.parameters, "index": source.index}}
    return ScheduleEntry.model_validate({**(source.entry.schedule or {}), **given})
