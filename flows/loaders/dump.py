"""A pipeline as native YAML, as a person would write it: in short forms and without defaults."""

import json
import re
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
    Output,
    Parallel,
    Pipeline,
    Policy,
    Sequential,
    Step,
    SubPipeline,
    Switch,
    Tolerance,
)

_ONLY_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
"""Letters that JSON permits in a text, and that YAML only permits escaped."""
_LONGEST_KEY = 150
"""In letters, which may be six times as long when escaped; in the form of JSON, a key of YAML has at most 1,024."""
_KEYS_WITHOUT_STEPS = ("options", "parameters", "outputs", "reads", "writes", "reducers", "merge", "split", "resources")


def dump_pipeline(pipeline: Pipeline, *, policies: bool = False) -> str:
    """The YAML that `load_pipeline_text` loads as an equal pipeline; with `policies`, also groups' default policies.

    Raises:
        ValueError: an option or a default has a value that YAML cannot hold (for example a set); the message names it.
    """
    from ruamel.yaml import YAML

    yaml: Any = YAML(typ="rt", pure=True)
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 110
    yaml.allow_unicode = True
    written = StringIO()
    data = pipeline_data(pipeline)
    yaml.dump(_with_flow_lists(_with_policies(data) if policies else data), written)
    return written.getvalue()


def pack_pipeline(pipeline: Pipeline) -> str:
    """As `dump_pipeline`, but for programs: in the part of YAML that is JSON, if it can hold the pipeline.

    JSON takes a tenth of the time, and does not import a library for YAML.

    Raises:
        ValueError: as for `dump_pipeline`.
    """
    data = pipeline_data(pipeline)
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        # JSON has no keys that are numbers.
        if json.loads(text, object_pairs_hook=_entries_with_short_keys) == data:
            return _ONLY_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    except ValueError:  # a key that is too long, or infinity, which JSON lacks too
        pass
    return dump_pipeline(pipeline)


def _entries_with_short_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if any(len(key) > _LONGEST_KEY for key, _ in pairs):
        raise ValueError("YAML has no such long keys in the form of JSON")
    return dict(pairs)


def _with_policies(value: Any) -> Any:
    """The same data, in which parallel steps with the default policy state it."""
    if isinstance(value, list):
        return [_with_policies(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    entries = cast("dict[Any, Any]", value)
    inner = {key: item if key in _KEYS_WITHOUT_STEPS else _with_policies(item) for key, item in entries.items()}
    if not isinstance(entries.get("parallel"), list) or "policy" in entries:
        return inner
    branches = inner.pop("parallel")
    return {**inner, "policy": "all_or_nothing", "parallel": branches}


def _with_flow_lists(value: Any) -> Any:
    """The same data, in which a list of texts inside a list (a branch of several handlers) is written on one line."""
    from ruamel.yaml.comments import CommentedSeq

    if isinstance(value, dict):
        return {key: _with_flow_lists(item) for key, item in cast("dict[Any, Any]", value).items()}
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for item in cast("list[Any]", value):
        if isinstance(item, list) and item and all(isinstance(text, str) for text in cast("list[Any]", item)):
            flow: Any = CommentedSeq(cast("list[Any]", item))
            flow.fa.set_flow_style()
            items.append(flow)
        else:
            items.append(_with_flow_lists(item))
    return items


def pipeline_data(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline as the plain data of its YAML."""
    fields = _changed_fields(pipeline, but=("name", "steps"))
    if pipeline.outputs is not None:
        fields["outputs"] = _outputs_data(pipeline.outputs)
    return {"name": pipeline.name, **fields, "steps": _steps_data(pipeline.steps)}


def _outputs_data(outputs: Mapping[str, Output]) -> Any:
    """Outputs in their shortest form: names, else each with its field, or with the values that differ from the
    defaults.
    """
    if all(output == Output(field=name) for name, output in outputs.items()):
        return list(outputs)
    full = {name: _changed_fields(output) for name, output in outputs.items()}
    return {
        name: output.field if set(full[name]) == {"field"} else _without_own_name(name, full[name])
        for name, output in outputs.items()
    }


def _without_own_name(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if (key, value) != ("field", name)}


def _steps_data(steps: Sequence[Step]) -> list[Any]:
    return [_step_data(step) for step in steps]


def _step_data(step: Step) -> Any:
    match step:
        case Handler():
            fields = _changed_fields(step, but=("handler",))
            return {"handler": step.handler, **fields} if fields else step.handler
        case Parallel():
            return {**_changed_fields(step, but=("branches",)), "parallel": _steps_data(step.branches)}
        case ForEach():
            fields = _changed_fields(step, but=("over", "steps"))
            return {"for_each": step.over, **fields, "steps": _steps_data(step.steps)}
        case MergeResults():
            fields = _changed_fields(step, but=("group",))
            return {"merge_results": step.group, **fields} if step.group is not None else {"merge_results": fields}
        case Switch():
            fields = _changed_fields(step, but=("cases", "default"))
            default = {"default": _steps_data(step.default)} if step.default else {}
            return {**fields, "switch": [_case_data(case) for case in step.cases], **default}
        case SubPipeline():
            return {"pipeline": step.pipeline, **_changed_fields(step, but=("pipeline",))}
        case Sequential():
            fields = _changed_fields(step, but=("steps",))
            steps = _steps_data(step.steps)
            return {**fields, "steps": steps} if fields or len(steps) == 1 else steps
        case _:
            assert_never(step)


def _case_data(case: Case) -> dict[str, Any]:
    return {"when": case.when, "steps": _steps_data(case.steps)}


def _changed_fields(model: BaseModel, *, but: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a model that differ from their defaults, in declared order."""
    written: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if name in but:
            continue
        if field.is_required() or value != field.get_default(call_default_factory=True):
            key = field.serialization_alias or name
            written[key] = _plain_data(value, f"{type(model).__name__.lower()}.{key}", collect=name == "collect")
    return written


def _plain_data(value: Any, where: str, *, collect: bool = False) -> Any:
    """A value as YAML holds it, in its short form if it has one; `where` names it in an error."""
    if isinstance(value, Policy):
        return _policy_data(value)
    if isinstance(value, Tolerance) and _has_short_form(value):
        return value.ratio if value.count is None else value.count
    if isinstance(value, BaseModel):
        fields = _changed_fields(value)
        return fields.get("strategy", "collect_all") if set(fields) <= {"strategy"} and _is_merge(value) else fields
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        if collect and all(key == item for key, item in entries.items()):
            return list(entries)
        return {_plain_data(key, where): _plain_data(item, f"{where}.{key}") for key, item in entries.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_data(item, where) for item in cast("Sequence[Any]", value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ValueError(f"{where} is a {type(value).__name__}, which YAML cannot hold; give plain data")


def _has_short_form(tolerance: Tolerance) -> bool:
    return tolerance.run_when_failed == "partial" and (tolerance.count is None) != (tolerance.ratio is None)


def _is_merge(value: BaseModel) -> bool:
    return isinstance(value, Merge)


def _policy_data(policy: Policy) -> Any:
    name = policy.name
    if name.startswith("minimum_threshold: "):
        return {"minimum_threshold": int(name.partition(": ")[2])}
    return name if "/" not in name else _changed_fields(policy)
