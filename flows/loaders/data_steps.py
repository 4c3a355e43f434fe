"""Data pipelines: `query`, `transform`, `skill` and `merge` steps, and `type: parallel` blocks of them.

The dialect's own defaults are written into the native form: a block has no limit, and it fails if one of its steps
fails. A step writes the field that its `output` names, and all later steps can read it. A name in `inputs`, or in a
query's `{placeholder}`, that no step writes becomes a parameter.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from flows.errors import suggest
from flows.loaders.foreign import KeyReader, Translation, built, identity, listed, pipeline_name, unreadable
from flows.loaders.yaml_nodes import YamlNode

_CALLS = ("query", "transform", "skill", "merge")
TYPES = (*_CALLS, "parallel")
_SAME = {"python_function": "transform"}
"""Types by other names."""
_FIND = ("collection", "filter", "projection", "sort", "limit", "pipeline", "database")
"""Keys of a MongoDB query that may stand in the step."""
TOP = ("name", "description", "version", "steps")
_BLOCK = ("type", "name", "steps", "enabled")
_PLACEHOLDER = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)\}(?!\})")


def signs(node: YamlNode) -> int:
    """How many signs of this dialect one mapping has."""
    entries = node.entries or {}
    kind = entries["type"].scalar if "type" in entries else None
    if not isinstance(kind, str):
        return 0
    if kind == "parallel":
        return 1 if "steps" in entries else 0
    if not get_close_matches(_SAME.get(kind, kind), _CALLS, n=1, cutoff=0.8):
        return 0
    return 2 if any(key in entries for key in ("output", "inputs", "source", "skill", "function")) else 1


def translate(root: YamlNode, translation: Translation, name: str) -> YamlNode:
    """The native form of a document."""
    steps_node = root
    if root.items is None:
        keys = KeyReader(root, translation, "a data pipeline", TOP)
        nodes = keys.items("steps", "a list of steps") or []
        steps_node = keys.node_at("steps") or root
        fields: dict[str, Any] = {**pipeline_name(keys, name), **keys.unchanged("description", "version")}
    else:
        nodes, fields = root.items, {"name": name}
    steps = [_native_step(node, translation) for node in nodes]
    parameters = {key: built(at, {"required": True}) for key, at in _unwritten_names(nodes).items()}
    return built(
        root,
        {
            **fields,
            **({"parameters": built(root, parameters)} if parameters else {}),
            "steps": listed(steps_node, steps),
        },
    )


def _native_step(node: YamlNode, translation: Translation) -> YamlNode:
    if isinstance(node.scalar, str):
        return node
    entries = node.entries
    if entries is None:
        translation.error(node.position, "bad-step", f"a step must be a mapping with 'type', not {node.description()}")
        return unreadable(node)
    written = entries.get("type")
    if written is None:
        translation.error(node.position, "missing-key", f"a step needs 'type'{suggest('', TYPES)}")
        return unreadable(node)
    kind = _SAME.get(str(written.scalar), written.scalar)
    if kind not in TYPES:
        message = f"unknown type {written.description()}{suggest(str(kind), TYPES)}"
        translation.error(written.position, "unknown-type", message)
        return unreadable(node)
    return _parallel_block(node, translation) if kind == "parallel" else _handler_step(node, str(kind), translation)


def _parallel_block(node: YamlNode, translation: Translation) -> YamlNode:
    keys = KeyReader(node, translation, "a parallel block", _BLOCK)
    steps = keys.items("steps", "a list of steps")
    if steps is None:
        translation.error(node.position, "empty-group", "'parallel' requires 'steps' list")
        return unreadable(node)
    return built(
        node,
        {
            **identity(keys.text("name"), translation),
            **keys.unchanged("enabled"),
            "max_concurrency": "unlimited",
            "policy": "all_or_nothing",
            "parallel": listed(keys.node_at("steps") or node, [_native_step(step, translation) for step in steps]),
        },
    )


def _handler_step(node: YamlNode, kind: str, translation: Translation) -> YamlNode:
    entries = node.entries or {}
    fields: dict[str, Any] = {"handler": YamlNode(*entries["type"].position, scalar=kind)}
    name = entries.get("name")
    if name is not None:
        if not isinstance(name.scalar, str):
            translation.error(name.position, "bad-value", f"'name' must be a text, not {name.description()}")
        else:
            fields |= identity(name.scalar, translation)
    if "enabled" in entries:
        fields["enabled"] = entries["enabled"]
    if kind == "query" and "source" not in entries:
        translation.error(node.position, "missing-option", "'query' type requires 'source'")
    entries = _with_query(node, entries) if kind == "query" else entries
    if kind == "transform" and "python_function" in entries and "function" not in entries:
        entries = {("function" if key == "python_function" else key): value for key, value in entries.items()}
    if kind == "transform" and "function" not in entries:
        translation.error(node.position, "missing-option", "'transform' type requires 'function'")
    if kind == "skill" and "skill" not in entries:
        translation.error(node.position, "missing-option", "'skill' type requires 'skill'")
    inputs = entries.get("inputs")
    if kind == "merge" and (inputs is None or len(inputs.items or inputs.entries or ()) < 2):
        position = inputs.position if inputs is not None else node.position
        translation.error(position, "bad-option", "'merge' requires at least 2 inputs")
    if inputs is not None and inputs.items is None and inputs.entries is None:
        hint = f"; write [{inputs.scalar}]" if isinstance(inputs.scalar, str) else ""
        message = f"'inputs' must be a list of names, not {inputs.description()}{hint}"
        translation.error(inputs.position, "bad-option", message)
    options = {key: value for key, value in entries.items() if key not in ("type", "name", "enabled")}
    options_node = built(node, options)
    written = node.entries or {}
    options_node.key_positions = {
        key: node.key_position(key) if key in written else options[key].position for key in options
    }
    return built(node, {**fields, "options": options_node})


def _with_query(node: YamlNode, entries: Mapping[Any, YamlNode]) -> Mapping[Any, YamlNode]:
    """The keys of a query step; those of MongoDB (`collection`, `filter`, …) and Redis (`key`) become its `query`."""
    find = {key: entries[key] for key in _FIND if key in entries}
    if "key" in entries and "query" not in entries and not find:
        command = entries.get("command") or entries.get("operation") or YamlNode(*node.position, scalar="GET")
        arguments = listed(entries["key"], [entries["key"]])
        asked = built(entries["key"], {"command": command, "args": arguments})
        return {
            **{key: at for key, at in entries.items() if key not in ("key", "command", "operation")},
            "query": asked,
        }
    if "filter" not in find and "collection" not in find:
        return entries
    if (named := entries.get("query")) is not None and named.entries is None and "collection" not in find:
        find = {"collection": named, **find}
    elif named is not None:
        return entries
    first = next(iter(find.values()))
    return {**{key: at for key, at in entries.items() if key not in find}, "query": built(first, find)}


def _unwritten_names(nodes: Sequence[YamlNode]) -> dict[str, YamlNode]:
    """The names that steps read and no earlier step writes, each with the node that reads it first.

    A skill without `output` may write any name, so names that are read only after it are left out.
    """
    unwritten: dict[str, YamlNode] = {}
    written: set[str] = set()
    for node in nodes:
        inner = _inner_steps(node) if _type_of(node) == "parallel" else [node]
        if _type_of(node) == "parallel":
            outputs = {name for step in inner for name in _output_names(step)}
            found = {name: at for name, at in _unwritten_names(inner).items() if name not in outputs}
        else:
            found = _names_read(node)
        unwritten |= {name: at for name, at in found.items() if name not in written and name not in unwritten}
        steps = _all_nodes(inner)
        if any(_type_of(step) == "skill" and "output" not in (step.entries or {}) for step in steps):
            break
        written |= {name for step in steps for name in _output_names(step)}
    return unwritten


def _type_of(node: YamlNode) -> Any:
    entries = node.entries or {}
    return entries["type"].scalar if "type" in entries else None


def _all_nodes(nodes: Sequence[YamlNode]) -> list[YamlNode]:
    return [inner for node in nodes for inner in [node, *_all_nodes(_inner_steps(node))]]


def _inner_steps(node: YamlNode) -> Sequence[YamlNode]:
    steps = (node.entries or {}).get("steps")
    return (steps.items if steps is not None else None) or []


def _output_names(node: YamlNode) -> list[str]:
    output = (node.entries or {}).get("output")
    own = list(output.texts()) if output is not None else []
    return own + [name for inner in _inner_steps(node) for name in _output_names(inner)]


def _names_read(node: YamlNode) -> dict[str, YamlNode]:
    entries = node.entries or {}
    found: dict[str, YamlNode] = {}
    inputs = entries.get("inputs")
    if inputs is not None:
        items = inputs.items if inputs.items is not None else list((inputs.entries or {}).values())
        found |= {item.scalar: item for item in items if isinstance(item.scalar, str) and item.scalar.isidentifier()}
    if _type_of(node) == "query":
        for key in ("query", "url", "params", "body", "headers", "key", *_FIND):
            if key in entries:
                for text in entries[key].texts():
                    found |= {name: entries[key] for name in _PLACEHOLDER.findall(text) if name not in found}
    return found
