"""A pipeline as native YAML, as a person would write it: short forms, no defaults."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, assert_never, cast

from pydantic import BaseModel

from flows.model import (
    Case,
    ForEach,
    Handler,
    Merge,
    MergeResults,
    Parallel,
    Pipeline,
    Policy,
    Sequential,
    Step,
    SubPipeline,
    Switch,
    Tolerance,
)

_DATA = ("options", "parameters", "reads", "writes", "reducers", "merge", "split", "resources")
"""Keys under which no step stands."""


def dump_pipeline(pipeline: Pipeline, *, policies: bool = False) -> str:
    """The YAML from which `load_pipeline_text` makes an equal pipeline; `policies` writes those of all groups out.

    Raises:
        ValueError: an option or a default holds what YAML cannot (for example a set); the message names it.
    """
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="rt", pure=True)
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 110
    yaml.allow_unicode = True
    written = StringIO()
    data = pipeline_data(pipeline)
    yaml.dump(_laid_out(_with_policies(data) if policies else data), written)
    return written.getvalue()


def _with_policies(value: Any) -> Any:
    """The same data, where a parallel step that has the usual policy says so."""
    if isinstance(value, list):
        return [_with_policies(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    entries = cast("dict[Any, Any]", value)
    inner = {key: item if key in _DATA else _with_policies(item) for key, item in entries.items()}
    if not isinstance(entries.get("parallel"), list) or "policy" in entries:
        return inner
    branches = inner.pop("parallel")
    return {**inner, "policy": "all_or_nothing", "parallel": branches}


def _laid_out(value: Any) -> Any:
    """The same data, where a list of texts within a list (a branch of several handlers) is written on one line."""
    from ruamel.yaml.comments import CommentedSeq

    if isinstance(value, dict):
        return {key: _laid_out(item) for key, item in cast("dict[Any, Any]", value).items()}
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for item in cast("list[Any]", value):
        if isinstance(item, list) and item and all(isinstance(text, str) for text in cast("list[Any]", item)):
            flow: Any = CommentedSeq(cast("list[Any]", item))
            flow.fa.set_flow_style()
            items.append(flow)
        else:
            items.append(_laid_out(item))
    return items


def pipeline_data(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline as the plain data that its YAML holds."""
    fields = _changed(pipeline, but=("name", "steps"))
    return {"name": pipeline.name, **fields, "steps": _steps(pipeline.steps)}


def _steps(steps: Sequence[Step]) -> list[Any]:
    return [_step(step) for step in steps]


def _step(step: Step) -> Any:
    match step:
        case Handler():
            fields = _changed(step, but=("handler",))
            return {"handler": step.handler, **fields} if fields else step.handler
        case Parallel():
            return {**_changed(step, but=("branches",)), "parallel": _steps(step.branches)}
        case ForEach():
            fields = _changed(step, but=("over", "steps"))
            return {"for_each": step.over, **fields, "steps": _steps(step.steps)}
        case MergeResults():
            fields = _changed(step, but=("source",))
            return {"merge_results": step.source, **fields} if step.source is not None else {"merge_results": fields}
        case Switch():
            fields = _changed(step, but=("cases", "default"))
            default = {"default": _steps(step.default)} if step.default else {}
            return {**fields, "switch": [_case(case) for case in step.cases], **default}
        case SubPipeline():
            return {"pipeline": step.pipeline, **_changed(step, but=("pipeline",))}
        case Sequential():
            fields = _changed(step, but=("steps",))
            steps = _steps(step.steps)
            return {**fields, "steps": steps} if fields or len(steps) == 1 else steps
        case _:
            assert_never(step)


def _case(case: Case) -> dict[str, Any]:
    return {"when": case.when, "steps": _steps(case.steps)}


def _changed(model: BaseModel, *, but: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a model that differ from their defaults, in declared order."""
    written: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if name in but:
            continue
        if field.is_required() or value != field.get_default(call_default_factory=True):
            key = field.serialization_alias or name
            written[key] = _value(value, f"{type(model).__name__.lower()}.{key}", collect=name == "collect")
    return written


def _value(value: Any, place: str, *, collect: bool = False) -> Any:
    if isinstance(value, Policy):
        return _policy(value)
    short = isinstance(value, Tolerance) and value.run_when_failed == "partial"
    if isinstance(value, Tolerance) and short and (value.count is None) != (value.ratio is None):
        return value.ratio if value.count is None else value.count
    if isinstance(value, BaseModel):
        fields = _changed(value)
        return fields.get("strategy", "collect_all") if set(fields) <= {"strategy"} and _is_merge(value) else fields
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        if collect and all(key == item for key, item in entries.items()):
            return list(entries)
        return {_value(key, place): _value(item, f"{place}.{key}") for key, item in entries.items()}
    if isinstance(value, (list, tuple)):
        return [_value(item, place) for item in cast("Sequence[Any]", value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError(f"{place} is a {type(value).__name__}, which YAML cannot hold; give plain data")


def _is_merge(value: BaseModel) -> bool:
    return isinstance(value, Merge)


def _policy(policy: Policy) -> Any:
    name = policy.name
    if name.startswith("minimum_threshold: "):
        return {"minimum_threshold": int(name.partition(": ")[2])}
    return name if "/" not in name else _changed(policy)
