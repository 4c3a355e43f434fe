"""The reference of the REST interface, from its OpenAPI document."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of the body."""

    name: str
    place: str
    type: str
    about: str


@dataclass(frozen=True)
class Call:
    """One call: its address, its purpose and its parameters."""

    verb: str
    path: str
    about: list[str]
    fields: list[Field]


def reference(document: Mapping[str, Any]) -> list[tuple[str, list[Call]]]:
    """The calls by group, in the order of the document."""
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[Call]] = {}
    for path, verbs in document["paths"].items():
        for verb, each in verbs.items():
            about = each.get("description", "").split("\n\n")
            fields = [
                Field(one["name"], one["in"], _type(one["schema"]), one.get("description", ""))
                for one in each.get("parameters", ())
            ]
            body = each.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            chosen = schemas.get(body.get("$ref", "").rpartition("/")[2], {})
            fields += [
                Field(name, "body", _type(one), one.get("description", ""))
                for name, one in chosen.get("properties", {}).items()
            ]
            groups.setdefault(each["tags"][0], []).append(Call(verb.upper(), path, about, fields))
    return list(groups.items())


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    shown = schema.get("type", schema.get("$ref", "").rpartition("/")[2] or "any")
    shown = f"list of {_type(schema.get('items', {}))}" if shown == "array" else shown
    return f"{shown}, {schema['default']!r}" if schema.get("default") not in (None, {}, []) else shown
