"""The JSON Schema of native YAML for editors: every key with its description, and the short forms."""

from typing import Any, cast

from flows.loaders.error_locations import names_of
from flows.loaders.yaml_steps import STEP_KINDS
from flows.model import MAX_CONCURRENCY_NAMES, PRESETS, Pipeline, StepFields

_STEP = {"$ref": "#/$defs/Step"}
_STEPS = {"type": "array", "items": _STEP}


def pipeline_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a pipeline file; a file that fits it loads, unless its ids are not unique."""
    pipeline = cast("dict[str, Any]", _with_step_references(Pipeline.model_json_schema()))
    definitions = pipeline.pop("$defs")
    for kind, model in STEP_KINDS.items():
        definitions[model.__name__] = _step_schema(kind, model, definitions[model.__name__])
    definitions["Step"] = {
        "description": "The name of a handler, a list of steps that run in order, or a step with all its keys.",
        "anyOf": [
            {"type": "string", "minLength": 1},
            {**_STEPS, "minItems": 1},
            *({"$ref": f"#/$defs/{model.__name__}"} for model in STEP_KINDS.values()),
        ],
    }
    _add_short_forms(definitions)
    definitions["Pipeline"] = _with_aliases(pipeline, Pipeline)
    definitions["Pipeline"]["properties"]["outputs"] = _outputs_schema(pipeline["properties"]["outputs"])
    definitions["Output"].pop("required")  # the field of an output defaults to its name
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Braid pipeline",
        "anyOf": [{"$ref": "#/$defs/Pipeline"}, {**_STEPS, "minItems": 1}],
        "$defs": definitions,
    }


def _with_step_references(value: Any) -> Any:
    """The schema with every union of all steps replaced by a reference to one definition."""
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        if "discriminator" in mapping:
            return _STEP
        return {key: _with_step_references(item) for key, item in mapping.items()}
    return [_with_step_references(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def _with_aliases(schema: dict[str, Any], model: type[Any]) -> dict[str, Any]:
    """The schema of a model with all keys under which its fields may be written."""
    required: list[str] = schema.get("required", [])
    properties: dict[str, Any] = dict(schema["properties"])
    requirements: list[Any] = []
    for name, field in model.model_fields.items():
        names = [key for key in names_of(name, field) if not key.endswith("_")]
        shape = next((properties[key] for key in names if key in properties), None)
        if names[0] in MAX_CONCURRENCY_NAMES:
            shape = {
                "description": field.description,
                "anyOf": [{"type": "integer", "minimum": 1}, {"const": "unlimited"}, {"type": "null"}],
            }
        properties |= dict.fromkeys(names, shape)
        if any(key in required for key in names):
            requirements.append(_one_of(names))
    rest = {key: value for key, value in schema.items() if key not in ("required", "properties", "title")}
    return {**rest, "properties": properties, **({"allOf": requirements} if requirements else {})}


def _one_of(names: list[str]) -> dict[str, Any]:
    return {"anyOf": [{"required": [name]} for name in names]}


def _step_schema(kind: str, model: type[StepFields], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a step with its short forms."""
    full = _with_aliases(schema, model)
    properties = full["properties"]
    inner = {key: value for key, value in full.items() if key != "allOf"}
    if kind in ("parallel", "switch"):  # `parallel: {branches: …}`
        names = ["branches", "parallel"] if kind == "parallel" else ["cases", "switch"]
        properties |= {name: {**properties[name], "minItems": 1} for name in names}
        inner["properties"] = dict(properties)
        properties[kind] = {"description": full["description"], "anyOf": [properties[kind], inner]}
        listed = {"required": [kind], "properties": {kind: {"type": "array"}}}
        full["allOf"] = [{"anyOf": [{"required": [names[0]]}, listed, _required_with(kind, _one_of(names))]}]
    if kind in ("for_each", "merge_results"):  # `for_each: docs` and `for_each: {over: docs}`
        inner["properties"] = dict(properties)
        properties[kind] = {"description": full["description"], "anyOf": [{"type": "string"}, inner]}
        full["allOf"] = [{"anyOf": [{"required": [kind]}, {"required": ["type"]}]}]
    if kind == "for_each":
        text = {"required": [kind], "properties": {kind: {"type": "string"}}}
        full["allOf"] += [
            {"anyOf": [{"required": ["over"]}, text, _required_with(kind, {"required": ["over"]})]},
            {"anyOf": [{"required": ["steps"]}, _required_with(kind, {"required": ["steps"]})]},
        ]
    return full


def _required_with(key: str, requirement: dict[str, Any]) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {"type": "object", **requirement}}}


def _add_short_forms(definitions: dict[str, Any]) -> None:
    presets = {"enum": list(PRESETS)}
    threshold = {
        "type": "object",
        "properties": {
            "minimum_threshold": {
                "type": "integer",
                "minimum": -1,
                "description": "How many branches must succeed at least; -1 is all.",
            }
        },
        "required": ["minimum_threshold"],
        "additionalProperties": False,
    }
    share = {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$"}
    number = {"type": "number", "minimum": 0}
    short: dict[str, list[dict[str, Any]]] = {
        "Policy": [presets, threshold],
        "Merge": [{"type": "string", "description": "A registered merge strategy."}],
        "Tolerance": [number, share],
    }
    for name, forms in short.items():
        definitions[name] = {"description": definitions[name]["description"], "anyOf": [*forms, definitions[name]]}
    names = {"type": "array", "items": {"type": "string"}}
    for properties in _properties_with(definitions["ForEach"], "collect"):
        properties["collect"] = {
            "description": properties["collect"]["description"],
            "anyOf": [{"type": "string"}, names, {"type": "object", "additionalProperties": {"type": "string"}}],
        }


def _outputs_schema(full: dict[str, Any]) -> dict[str, Any]:
    """The schema of outputs: one name, names, or a mapping from each name to its field or its full form."""
    name = {"type": "string", "minLength": 1}
    one = {"anyOf": [name, {"type": "null"}, {"$ref": "#/$defs/Output"}]}
    forms = [name, {"type": "array", "items": name}, {"type": "object", "additionalProperties": one}, {"type": "null"}]
    return {"description": full["description"], "default": None, "anyOf": forms}


def _properties_with(schema: Any, key: str) -> list[dict[str, Any]]:
    """Every table of properties in a schema that has the key."""
    if isinstance(schema, list):
        return [found for item in cast("list[Any]", schema) for found in _properties_with(item, key)]
    if not isinstance(schema, dict):
        return []
    mapping = cast("dict[str, Any]", schema)
    here = [mapping["properties"]] if key in mapping.get("properties", {}) else []
    return here + [found for item in mapping.values() for found in _properties_with(item, key)]
