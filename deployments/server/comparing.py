"""Differences between a deployment on the server and the desired one, in words."""

from collections.abc import Mapping
from typing import Any

from prefect.client.schemas.responses import DeploymentResponse

from deployments.server.desired import DesiredDeployment

_COMPARED = (
    "description",
    "version",
    "tags",
    "entrypoint",
    "path",
    "pull_steps",
    "work_pool_name",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
)


def deployment_differences(known: DeploymentResponse, desired: DesiredDeployment) -> list[str]:
    """A line for every field and parameter that differs, and for the rule on overlapping runs; tags may be added."""
    present = known.model_dump(mode="json", include=set(_COMPARED))
    changes: list[str] = []
    for name in _COMPARED:
        before, after = present[name], desired.fields[name]
        if name == "work_pool_name" and after is None:  # it stays where it is
            continue
        if before == after or (name == "tags" and set(after) <= set(before)):
            continue
        if name == "parameter_openapi_schema":
            changes += _form_differences(before or {}, after)
        else:
            changes.append(value_change(name.removesuffix("_name").replace("_", " "), before, after))
    if desired.variables is not None:
        changes += mapping_changes("variable", known.job_variables.get("env") or {}, desired.variables)
    return changes + _overlap_difference(known, desired)


def _form_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    changes = [f"parameter {name}: new" for name in new if name not in old]
    changes += [f"parameter {name}: gone" for name in old if name not in new]
    for name in (name for name in new if name in old):
        changes += [f"parameter {name}, {line}" for line in mapping_changes("its", old[name], new[name])]
    if before.get("required", []) != after.get("required", []):
        changes.append(value_change("required parameters", before.get("required", []), after.get("required", [])))
    return changes or ["form: other details"]


def _overlap_difference(known: DeploymentResponse, desired: DesiredDeployment) -> list[str]:
    limit, options = known.global_concurrency_limit, known.concurrency_options
    before = (limit.limit, options.collision_strategy.value) if limit is not None and options is not None else None
    if before == desired.concurrency and (limit is None) == (before is None):
        return []
    return [value_change("overlap", _overlap_text(before), _overlap_text(desired.concurrency))]


def _overlap_text(concurrency: tuple[int, str] | None) -> str:
    return "allow" if concurrency is None else f"{concurrency[0]} at once, then {concurrency[1]}"


def value_change(name: str, before: Any, after: Any) -> str:
    """A line such as `work pool: braid → nightly`."""
    return f"{name}: {_short(before)} → {_short(after)}"


def mapping_changes(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line such as `parameter limit: 5 → 10` for every key whose value differs."""
    return [
        value_change(f"{name} {key}", before.get(key), after.get(key))
        for key in [*after, *(key for key in before if key not in after)]
        if before.get(key) != after.get(key)
    ]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
