"""Handlers in the JSON Schema of pipelines: their names, and the options of each."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema

_TEMPLATE = {"type": "string", "pattern": r"\{\{|^@(payload|ctx|run|item)\b"}
"""A template or a reference may stand for any value."""


def add_handlers(schema: dict[str, Any], options: Mapping[str, tuple[str, type[BaseModel]]]) -> None:
    """Add the names of handlers for completion, and their options for checks.

    `options` are the description and the options of each handler, by name. Other names stay valid, because handlers may
    be registered elsewhere.
    """
    definitions = schema["$defs"]
    names = {"anyOf": [{"enum": sorted(options)}, {"type": "string", "minLength": 1}]}
    step: dict[str, Any] = definitions["Handler"]
    rules: list[dict[str, Any]] = []
    step["properties"]["handler"] = {**step["properties"]["handler"], **names}
    for name, (summary, model) in sorted(options.items()):
        shape = _options(model)
        if shape is None:
            continue
        definitions[f"options_of_{name}"] = {**shape, "title": f"Options of {name}", "description": summary}
        rules.append(
            {
                "if": {"properties": {"handler": {"const": name}}, "required": ["handler"]},
                "then": {"properties": {"options": {"$ref": f"#/$defs/options_of_{name}"}}},
            }
        )
    step["allOf"] = [*step.get("allOf", []), *rules]
    definitions["Step"]["anyOf"][0] = {**definitions["Step"]["anyOf"][0], **names}


def _options(model: type[BaseModel]) -> dict[str, Any] | None:
    """The schema of a handler's options, each of which may also be a template; None if it cannot be made."""
    try:
        made = model.model_json_schema()
    except (PydanticInvalidForJsonSchema, TypeError):
        return None
    if "$defs" in made:  # rare, and their references would have to be moved
        return None
    passes_on = "provider_options" in made.get("properties", {})
    properties = {name: {"anyOf": [shape, _TEMPLATE]} for name, shape in made.get("properties", {}).items()}
    required = {"required": made["required"]} if made.get("required") else {}
    return {"type": "object", "properties": properties, "additionalProperties": passes_on, **required}
