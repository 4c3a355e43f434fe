"""Reads `schedules.yaml`: the schedules of deployments, their parameters, and whether runs may overlap."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from deployments.catalog import Catalog
from deployments.server.form import controls_of
from deployments.setting_values import InvalidSettings, read_duration
from flows.errors import InvalidPipeline, Problem, suggest
from flows.loaders import Position, YamlNode, read_yaml
from flows.model import FrozenModel, InvalidParameters, Pipeline, check_parameters

FILE = Path(__file__).parents[1] / "schedules.yaml"
_KINDS = ("cron", "interval", "rrule")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


_RULES: dict[Any, str] = {"cron": "0 0 * * *", "interval": "1d", "rrule": "FREQ=DAILY"}
_ATTEMPTS = 8
"""How often invalid values are removed, since removing some may reveal others."""


class ScheduleEntry(FrozenModel):
    """One schedule of a deployment: one of cron, interval and rrule."""

    cron: str | None = Field(default=None, description="Minute, hour, day, month, weekday: '0 2 * * *' is 02:00.")
    interval: Annotated[float | None, BeforeValidator(read_duration)] = Field(
        default=None, ge=1, description="Seconds, or a text such as 15m, 6h, 1d."
    )
    anchor: datetime | None = Field(
        default=None, description="The time from which intervals are counted; without an offset, in the time zone."
    )
    rrule: str | None = Field(default=None, description="A recurrence rule of iCalendar (RFC 5545).")
    timezone: str = Field(
        default="UTC", description="The time zone of cron, rrule and anchor, for example Europe/Berlin."
    )
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any], description="The parameters of its runs.")
    active: bool | None = Field(
        default=None,
        description="Whether the schedule is active. Default: active when first deployed, later as set in the UI.",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of cron, interval and rrule{', not ' + ' and '.join(given) if given else ''}")
        return self

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, cron: str | None) -> str | None:
        # Prefect reads a sixth field, at the end, as seconds: `0 0 2 * * *` would run 60 times per minute.
        if cron is not None and len(fields := cron.split()) not in (1, 5):
            raise ValueError(f"{cron!r} has {len(fields)} fields; cron has five: minute, hour, day, month, weekday")
        return cron

    def prefect(self) -> Any:
        """The schedule as Prefect's object. A time without an offset is in the schedule's time zone.

        Raises:
            ValueError: Prefect cannot read the rule, or does not know the time zone.
        """
        from prefect.client.schemas.schedules import construct_schedule

        return construct_schedule(
            cron=self.cron,
            interval=self.interval,
            rrule=self.rrule,
            timezone=self.timezone,
            anchor_date=self._zoned_anchor() if self.interval is not None else None,
        )

    def _zoned_anchor(self) -> datetime | None:
        # Prefect would read an anchor without an offset as UTC, even if the schedule has a time zone.
        if self.anchor is None or self.anchor.tzinfo is not None or self.timezone not in available_timezones():
            return self.anchor
        return self.anchor.replace(tzinfo=ZoneInfo(self.timezone))

    def next_start(self) -> datetime | None:
        """The next time at which a run is due; None if there is none.

        Raises:
            ValueError: the rule never matches, for example 31 February.
        """
        from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

        kind = {"cron": CronSchedule, "interval": IntervalSchedule, "rrule": RRuleSchedule}[self.kind]
        dates = asyncio.run(kind.model_validate(self.prefect().model_dump()).get_dates(1))
        return dates[0] if dates else None

    @property
    def kind(self) -> str:
        """Which of cron, interval and rrule it is."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)


class DeploymentSchedules(FrozenModel):
    """The schedules of one deployment, and whether its runs on one index may overlap."""

    overlap: Annotated[Literal["allow", "enqueue", "cancel_new"], BeforeValidator(_lower)] = Field(
        default="allow",
        description="A run that is due while max_runs are running on its index starts anyway, waits, or is cancelled.",
    )
    max_runs: int = Field(default=1, ge=1, description="Runs at once per index, with overlap enqueue or cancel_new.")
    schedules: dict[str, ScheduleEntry] = Field(
        default_factory=dict[str, ScheduleEntry], description="The schedules, by name."
    )


def load_schedules(path: Path | None, catalog: Catalog) -> dict[str, DeploymentSchedules]:
    """The schedules in a file by pipeline; without a path, those of Braid's own file, or none if it was deleted.

    Raises:
        InvalidPipeline: everything that is wrong with the file, in the order of its lines.
        InvalidSettings: there is no file at that path.
    """
    if path is None and not FILE.exists():
        return {}
    if path is not None and not path.is_file():
        raise InvalidSettings(
            f"BRAID_SCHEDULES names {path}, which is not a file; nothing was changed (an empty file means no schedules)"
        )
    path = path or FILE
    return read_schedules(path.read_text(encoding="utf-8"), catalog, file=str(path))


def read_schedules(text: str, catalog: Catalog, *, file: str) -> dict[str, DeploymentSchedules]:
    """The schedules in a text by pipeline.

    Raises:
        InvalidPipeline: everything that is wrong with the text, in the order of its lines.
    """
    document = read_yaml(text, file=file)
    problems = list(document.problems)
    found: dict[str, DeploymentSchedules] = {}
    root = document.root or YamlNode(1, 1, entries={})
    if root.entries is None:
        message = "schedules are a mapping from the name of a pipeline to its schedules"
        raise InvalidPipeline([*problems, Problem(file, *root.position, "bad-value", message)])
    for name, node in root.entries.items():
        if name not in catalog.loaded:
            message = f"there is no pipeline named {name!r}{suggest(str(name), list(catalog.loaded))}"
            problems.append(Problem(file, *root.key_position(name), "unknown-pipeline", message))
        readable, complaints = _readable(node, file)
        problems += complaints
        close = get_close_matches(str(name), list(catalog.loaded), n=1)
        meant = catalog.loaded.get(name) or (catalog.loaded[close[0]] if close else None)
        if readable is not None:
            found[name] = readable
            problems += _unusable(readable, meant.pipeline if meant is not None else None, node, file)
    if problems:
        raise InvalidPipeline(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return found


def _readable(node: YamlNode, file: str) -> tuple[DeploymentSchedules | None, list[Problem]]:
    """The schedules without invalid values, and a problem for each invalid value."""
    data, problems = node.data(), list[Problem]()
    for _ in range(_ATTEMPTS):
        try:
            return DeploymentSchedules.model_validate(data), problems
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                problem = Problem(file, *_position(node, error["loc"]), "bad-value", _complaint(error))
                problems += [problem] if problem not in problems else []
                _remove(data, error["loc"])
    return None, problems


def _remove(data: Any, location: tuple[int | str, ...]) -> None:
    """Remove a value, or the nearest enclosing value if that is impossible."""
    for length in range(len(location), 0, -1):
        *outer, last = location[:length]
        holder = data
        for part in outer:
            holder = holder.get(part) if isinstance(holder, dict) else None  # pyright: ignore[reportUnknownMemberType]
        if isinstance(holder, dict) and last in holder:
            if last in _RULES and holder[last] != _RULES[last]:
                holder[last] = _RULES[last]  # an entry without any rule would add another problem
            else:
                del holder[last]
            return


def _unusable(found: DeploymentSchedules, pipeline: Pipeline | None, node: YamlNode, file: str) -> list[Problem]:
    """Problems of rules that Prefect cannot read, and of parameters that the pipeline would refuse."""
    problems: list[Problem] = []
    controls = (
        {control.name for control in controls_of(pipeline)} - set(pipeline.parameters) if pipeline else set[str]()
    )
    for name, schedule in found.schedules.items():
        if trouble := schedule_trouble(schedule):
            key = "timezone" if "timezone" in trouble.lower() else schedule.kind
            problems.append(Problem(file, *_position(node, ("schedules", name, key)), "bad-schedule", trouble))
        if pipeline is None:
            continue
        own = {key: value for key, value in schedule.parameters.items() if key not in controls}
        try:
            check_parameters(pipeline, own)
        except InvalidParameters as error:
            for line in str(error).splitlines():
                about = next((key for key in own if repr(key) in line), "")
                position = _position(node, ("schedules", name, "parameters", *([about] if about else [])))
                problems.append(Problem(file, *position, "bad-parameter", line))
    return problems


def schedule_trouble(schedule: ScheduleEntry) -> str:
    """Why Prefect could not start runs by this schedule; empty if it can."""
    try:
        schedule.prefect()
    except ValueError as error:
        return _reason(error)
    rule = f"{schedule.kind}: {getattr(schedule, schedule.kind)!r}"
    try:
        due = schedule.next_start()
    except ValueError as error:
        return f"{rule} matches no date ({error})"
    return "" if due is not None else f"{rule} has no date in the future"


def _reason(error: ValueError) -> str:
    """The message, without pydantic's frame around it."""
    if isinstance(error, ValidationError):
        return _complaint(error.errors(include_url=False)[0])
    return str(error)


def _complaint(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        known = [*ScheduleEntry.model_fields, *DeploymentSchedules.model_fields]
        return f"unknown key {error['loc'][-1]!r}{suggest(str(error['loc'][-1]), known)}"
    where = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _position(node: YamlNode, location: tuple[int | str, ...]) -> Position:
    """The position of a value in the document: that of its key, or of the nearest enclosing key."""
    position = node.position
    for part in location:
        if node.entries is None or part not in node.entries:
            break
        position, node = node.key_position(part), node.entries[part]
    return position
