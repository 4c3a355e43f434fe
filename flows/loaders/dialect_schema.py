"""JSON Schemas of the foreign dialects, so that editors complete their keys. `braid validate` checks the values too."""

from collections.abc import Sequence
from typing import Any

from flows.loaders import chains, data_steps, hpd, stages

_ANY: dict[str, Any] = {}
_TEXT = {"type": "string"}
_STEP = {"$ref": "#/$defs/Step"}


def dialect_schema(dialect: str) -> dict[str, Any]:
    """The JSON Schema of one dialect: hpd, chain, data or stages."""
    made = _SCHEMAS[dialect]()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Pipeline ({dialect})", **made}


def _object(keys: Sequence[str], **known: Any) -> dict[str, Any]:
    properties = {**dict.fromkeys(keys, _ANY), **known}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _list_of(shape: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": shape, "minItems": 1}


def _hpd() -> dict[str, Any]:
    spelled = [spelling for key in hpd.TOP for spelling in hpd.spellings(key)]
    steps = {spelling: _list_of(_STEP) for spelling in hpd.spellings("steps")}
    inner = [spelling for key in (*hpd.SEQUENTIAL, *hpd.PARALLEL) for spelling in hpd.spellings(key)]
    wrapped = {name: _ANY for key in ("sequential_step", "parallel_step") for name in hpd.spellings(key)}
    step = _object(["type", "$type", *inner], **wrapped)
    return {
        "anyOf": [_list_of(_STEP), _object(spelled, **steps)],
        "$defs": {"Step": {"anyOf": [_TEXT, step]}},
    }


def _chain() -> dict[str, Any]:
    keys = [*chains.STEP, *chains.GROUP]
    step = _object(keys, type={"anyOf": [{"enum": sorted(chains.TYPES)}, _TEXT]}, parallel_steps=_list_of(_STEP))
    return {**_object(chains.TOP, steps=_list_of(_STEP)), "$defs": {"Step": {"anyOf": [_TEXT, step]}}}


def _data() -> dict[str, Any]:
    keys = {"type": {"enum": [*data_steps.TYPES, "python_function"]}, "steps": _list_of(_STEP)}
    step = {"type": "object", "properties": keys}  # every other key is an option
    pipeline = _object(data_steps.TOP, steps=_list_of(_STEP))
    return {"anyOf": [_list_of(_STEP), pipeline], "$defs": {"Step": {"anyOf": [_TEXT, step]}}}


def _stages() -> dict[str, Any]:
    job = {"anyOf": [_TEXT, _object(stages.JOB)]}
    loop = _object(stages.LOOP, jobs=_list_of(job))
    stage = _object(stages.STAGE, jobs=_list_of(job), loop=loop)
    return _object(stages.TOP, stages=_list_of(stage))


_SCHEMAS = {"hpd": _hpd, "chain": _chain, "data": _data, "stages": _stages}
DIALECT_NAMES = tuple(_SCHEMAS)
