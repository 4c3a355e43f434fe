"""Data pipelines: `query`, `transform`, `skill` and `merge` steps, and `type: parallel` blocks of them.

Written out: a block has no limit, and fails when any of its steps does. What steps write is there for all later ones,
by its `output` name. Names that no step writes, in `inputs` or as a query's `{placeholder}`, are parameters.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from flows.errors import suggest
from flows.loaders.foreign import Keys, Notes, built, given, identity, listed, texts_in, unreadable
from flows.loaders.positions import Node

_TYPES = ("query", "transform", "skill", "merge", "parallel")
_OWN = ("query", "transform", "skill", "merge")
_TOP = ("name", "description", "version", "steps")
_BLOCK = ("type", "name", "steps", "enabled")
_PLACEHOLDER = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)\}(?!\})")


def signs(node: Node) -> int:
    """How much in one mapping speaks for this dialect."""
    entries = node.entries or {}
    kind = entries["type"].scalar if "type" in entries else None
    if not isinstance(kind, str):
        return 0
    if kind == "parallel":
        return 1 if "steps" in entries else 0
    near = bool(get_close_matches(kind, _OWN, n=1, cutoff=0.8))
    telling = any(key in entries for key in ("output", "inputs", "source", "skill", "function"))
    return (1 if near else 0) + (1 if near and telling else 0)


def translate(root: Node, notes: Notes, name: str) -> Node:
    """The native form of a document."""
    steps_node = root
    if root.items is None:
        keys = Keys(root, notes, "a data pipeline", _TOP)
        nodes = keys.listed("steps", "a list of steps") or []
        steps_node = keys.node_at("steps") or root
        fields: dict[str, Any] = {"name": keys.node_at("name") or name, **keys.passed_on("description", "version")}
    else:
        nodes, fields = root.items, {"name": name}
    steps = [_step(node, notes) for node in nodes]
    needed = _needed(nodes)
    parameters = {key: built(at, {"required": True}) for key, at in needed.items()}
    return built(
        root,
        {
            **fields,
            **({"parameters": built(root, parameters)} if parameters else {}),
            "steps": listed(steps_node, steps),
        },
    )


def _step(node: Node, notes: Notes) -> Node:
    if isinstance(node.scalar, str):
        return node
    entries = node.entries
    if entries is None:
        notes.error(node.place, "bad-step", f"a step must be a mapping with 'type', not {given(node)}")
        return unreadable(node)
    written = entries.get("type")
    if written is None:
        notes.error(node.place, "missing-key", f"a step needs 'type'{suggest('', _TYPES)}")
        return unreadable(node)
    kind = written.scalar
    if kind not in _TYPES:
        notes.error(written.place, "unknown-type", f"unknown type {given(written)}{suggest(str(kind), _TYPES)}")
        return unreadable(node)
    return _block(node, notes) if kind == "parallel" else _call(node, str(kind), notes)


def _block(node: Node, notes: Notes) -> Node:
    keys = Keys(node, notes, "a parallel block", _BLOCK)
    steps = keys.listed("steps", "a list of steps")
    if steps is None:
        notes.error(node.place, "empty-group", "'parallel' requires 'steps' list")
        return unreadable(node)
    return built(
        node,
        {
            **identity(keys.text("name"), notes),
            **keys.passed_on("enabled"),
            "max_concurrency": "unlimited",
            "policy": "all_or_nothing",
            "parallel": listed(keys.node_at("steps") or node, [_step(step, notes) for step in steps]),
        },
    )


def _call(node: Node, kind: str, notes: Notes) -> Node:
    entries = node.entries or {}
    fields: dict[str, Any] = {"handler": Node(*entries["type"].place, scalar=kind)}
    name = entries.get("name")
    if name is not None:
        if not isinstance(name.scalar, str):
            notes.error(name.place, "bad-value", f"'name' must be a text, not {given(name)}")
        else:
            fields |= identity(name.scalar, notes)
    if "enabled" in entries:
        fields["enabled"] = entries["enabled"]
    if kind == "query" and "source" not in entries:
        notes.error(node.place, "missing-option", "'query' type requires 'source'")
    if kind == "transform" and "function" not in entries:
        notes.error(node.place, "missing-option", "'transform' type requires 'function'")
    if kind == "skill" and "skill" not in entries:
        notes.error(node.place, "missing-option", "'skill' type requires 'skill'")
    inputs = entries.get("inputs")
    if kind == "merge" and (inputs is None or len(inputs.items or inputs.entries or ()) < 2):
        place = inputs.place if inputs is not None else node.place
        notes.error(place, "bad-option", "'merge' requires at least 2 inputs")
    if inputs is not None and inputs.items is None and inputs.entries is None:
        hint = f"; write [{inputs.scalar}]" if isinstance(inputs.scalar, str) else ""
        notes.error(inputs.place, "bad-option", f"'inputs' must be a list of names, not {given(inputs)}{hint}")
    options = {key: value for key, value in entries.items() if key not in ("type", "name", "enabled")}
    at = built(node, options)
    at.key_places = {key: node.key_place(key) for key in options}
    return built(node, {**fields, "options": at})


def _needed(nodes: Sequence[Node]) -> dict[str, Node]:
    """The names that steps need and none before them writes, with where they are first needed.

    A skill writes names of its own choosing; what is needed after one that declares no `output` may be among them.
    """
    needed: dict[str, Node] = {}
    written: set[str] = set()
    sure = True
    for node in nodes:
        entries = node.entries or {}
        kind = entries["type"].scalar if "type" in entries else None
        inner = _inner(node) if kind == "parallel" else [node]
        if kind == "parallel":
            outputs = {name for step in inner for name in _outputs(step)}
            found = {name: at for name, at in _needed(inner).items() if name not in outputs}
        else:
            found = _used(node)
        if sure:
            needed |= {name: at for name, at in found.items() if name not in written and name not in needed}
        for step in _flat(inner):
            written |= set(_outputs(step))
            kind_of_step = (step.entries or {}).get("type")
            sure = sure and not (
                kind_of_step is not None and kind_of_step.scalar == "skill" and "output" not in (step.entries or {})
            )
    return needed


def _flat(nodes: Sequence[Node]) -> list[Node]:
    return [inner for node in nodes for inner in [node, *_flat(_inner(node))]]


def _inner(node: Node) -> Sequence[Node]:
    steps = (node.entries or {}).get("steps")
    return (steps.items if steps is not None else None) or []


def _outputs(node: Node) -> list[str]:
    output = (node.entries or {}).get("output")
    here = list(texts_in(output.data())) if output is not None else []
    return here + [name for inner in _inner(node) for name in _outputs(inner)]


def _used(node: Node) -> dict[str, Node]:
    entries = node.entries or {}
    found: dict[str, Node] = {}
    inputs = entries.get("inputs")
    if inputs is not None:
        items = inputs.items if inputs.items is not None else list((inputs.entries or {}).values())
        found |= {item.scalar: item for item in items if isinstance(item.scalar, str) and item.scalar.isidentifier()}
    if "type" in entries and entries["type"].scalar == "query":
        for key in ("query", "url", "params", "body", "headers"):
            if key in entries:
                for text in texts_in(entries[key].data()):
                    found |= {name: entries[key] for name in _PLACEHOLDER.findall(text) if name not in found}
    return found
