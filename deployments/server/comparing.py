"""Differences between a deployment on the server and the desired one, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.client.schemas.responses import DeploymentResponse

from deployments.server.desired import DesiredDeployment
from deployments.server.ownership import PROJECT_TAG
from flows.translator import Overlap

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
    overlap = desired.overlap.tag if desired.overlap is not None else ""
    for name in _COMPARED:
        before, after = present[name], desired.fields[name]
        if name == "parameter_openapi_schema":
            before, after = _comparable_form(before), _comparable_form(after)
        if name == "work_pool_name" and after is None:  # without a pool, the deployment stays in its own
            continue
        if before == after or (name == "tags" and _has_tags(present["tags"], desired.fields["tags"], overlap)):
            continue
        if name == "parameter_openapi_schema":
            changes += _form_differences(before, after)
        else:
            changes.append(value_change(name.removesuffix("_name").replace("_", " "), before, after))
    if desired.variables is not None:
        changes += mapping_changes("variable", known.job_variables.get("env") or {}, desired.variables)
    return changes + _overlap_difference(known, desired)


def _has_tags(before: Sequence[str], after: Sequence[str], overlap: str) -> bool:
    """Whether the tags are there, apart from that of the overlap, and none belongs to another project."""
    other = [tag for tag in before if tag.startswith(PROJECT_TAG) and tag not in after]
    return not other and {*after} - {*before} <= {overlap}


def _comparable_form(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """A form without empty parts and without `additionalProperties: false`, which `prefect deploy` cannot write."""
    return {key: value for key, value in (schema or {}).items() if value and key != "additionalProperties"}


def _form_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = before.get("properties", {}), after.get("properties", {})
    changes = [f"parameter {name}: new" for name in new if name not in old]
    changes += [f"parameter {name}: gone" for name in old if name not in new]
    for name in (name for name in new if name in old):
        changes += [f"parameter {name}, {line}" for line in mapping_changes("its", old[name], new[name])]
        if "default" in old[name] and "default" not in new[name] and old[name]["default"] is None:
            changes.append(f"parameter {name}, its default: null → nothing")
    if before.get("required", []) != after.get("required", []):
        changes.append(value_change("required parameters", before.get("required", []), after.get("required", [])))
    return changes or ["form: other details"]


def _overlap_difference(known: DeploymentResponse, desired: DesiredDeployment) -> list[str]:
    limit, before = known.global_concurrency_limit, Overlap.of(known.tags)
    if before == desired.overlap and limit is None:
        return []
    # An earlier version set Prefect's limit for the runs of the whole deployment.
    old = _overlap_text(before) if limit is None else f"{limit.limit} at once in all"
    return [value_change("overlap", old, _overlap_text(desired.overlap))]


def _overlap_text(overlap: Overlap | None) -> str:
    return "allow" if overlap is None else f"{overlap.max_runs} at once per index, then {overlap.then}"


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
