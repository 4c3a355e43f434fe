"""HPD step lists: `SequentialStep` and `ParallelStep` objects as YAML or JSON, and the handlers' names alone.

Keys may be written as C# does (`HandlerNames`), as its JSON does (`handlerNames`) or with underscores. Written out:
`MaxConcurrency` is unlimited where it is not given, `Policy` is AllOrNothing.
"""

import re
from typing import Any

from flows.errors import suggest
from flows.loaders.foreign import Keys, Notes, built, given, is_nothing, listed, unreadable
from flows.loaders.positions import Node

_TOP = ("name", "description", "version", "steps", "index", "document_id", "query")
_KINDS = ("SequentialStep", "ParallelStep")
_SEQUENTIAL, _PARALLEL = ("handler_name",), ("handler_names", "max_concurrency", "policy", "minimum_success_count")
_POLICIES = ("AllOrNothing", "BestEffort", "MinimumThreshold")
_CONTEXT = {
    "index": "The index to work on.",
    "document_id": "The document to ingest.",
    "query": "What is searched for.",
}


def signs(node: Node) -> int:
    """How much in one mapping speaks for this dialect."""
    keys = [str(key) for key in node.entries or {}]
    found = sum(1 for key in keys if snake(key) in (*_SEQUENTIAL, "handler_names", "sequential_step", "parallel_step"))
    found += sum(1 for key in keys if re.match(r"Handler[A-Z]|handler[A-Z]|MinimumSuccess", key))
    kind = (node.entries or {}).get("type", (node.entries or {}).get("$type"))
    found += 1 if kind is not None and re.search(r"(Sequential|Parallel)Step", str(kind.scalar)) else 0
    return found + (1 if "Steps" in keys else 0)


def translate(root: Node, notes: Notes, name: str) -> Node:
    """The native form of a document."""
    if root.items is not None:
        return built(root, {"name": name, "steps": listed(root, [_step(item, notes) for item in root.items])})
    keys = Keys(root, notes, "an HPD pipeline", _TOP, normal=_usual, shown=_pascal)
    parameters = {
        key: built(root, {"description": about, "default": node})
        for key, about in _CONTEXT.items()
        if (node := keys.node_at(key)) is not None
    }
    steps = keys.listed("steps", "a list of steps") or []
    return built(
        root,
        {
            "name": keys.node_at("name") or name,
            **keys.passed_on("description", "version"),
            **({"parameters": built(root, parameters)} if parameters else {}),
            "steps": listed(keys.node_at("steps") or root, [_step(item, notes) for item in steps]),
        },
    )


def _step(node: Node, notes: Notes) -> Node:
    if isinstance(node.scalar, str):
        return node
    if node.entries is None:
        message = f"a step must be the name of a handler, a SequentialStep or a ParallelStep, not {given(node)}"
        notes.error(node.place, "bad-step", message)
        return unreadable(node)
    for key, inner in node.entries.items():
        if snake(str(key)) in ("sequential_step", "parallel_step") and len(node.entries) == 1:
            parallel = snake(str(key)) == "parallel_step"
            if inner.entries is None:
                return _group(inner, notes, inner) if parallel else _one(inner, inner, "SequentialStep", notes)
            return _parallel(inner, notes) if parallel else _sequential(inner, notes)
    kind = _kind(node, notes)
    if kind == "ParallelStep":
        return _parallel(node, notes)
    if kind == "SequentialStep":
        return _sequential(node, notes)
    message = "cannot tell what this step is; it needs HandlerName (one handler) or HandlerNames (several at once)"
    notes.error(node.place, "bad-step", message)
    return unreadable(node)


def _kind(node: Node, notes: Notes) -> str:
    for key, value in (node.entries or {}).items():
        if str(key) in ("type", "$type"):
            found = re.search(r"(\w+Step)\b", str(value.scalar))
            if found and found[1] in _KINDS:
                return found[1]
            hint = suggest(str(value.scalar), _KINDS)
            notes.error(value.place, "unknown-type", f"no step has the type {given(value)}{hint}")
    keys = [snake(str(key)) for key in node.entries or {}]
    if "handler_names" in keys:
        return "ParallelStep"
    near = any(key.startswith("handler") for key in keys)
    several = any(key in _PARALLEL for key in keys)
    return "ParallelStep" if several else "SequentialStep" if near else ""


def _sequential(node: Node, notes: Notes) -> Node:
    keys = Keys(node, notes, "a SequentialStep", ("type", *_SEQUENTIAL), normal=_usual, shown=_pascal)
    found = keys.node_at("handler_name")
    if found is None:
        notes.error(node.place, "missing-key", "a SequentialStep needs 'HandlerName': the handler it calls")
        return unreadable(node)
    return _one(found, node, "HandlerName", notes)


def _one(name: Node, at: Node, key: str, notes: Notes) -> Node:
    if isinstance(name.scalar, str) and name.scalar:
        return name
    notes.error(name.place, "bad-value", f"{key!r} must be the name of a handler, not {given(name)}")
    return unreadable(at)


def _parallel(node: Node, notes: Notes) -> Node:
    keys = Keys(node, notes, "a ParallelStep", ("type", *_PARALLEL), normal=_usual, shown=_pascal)
    names = keys.node_at("handler_names")
    limit = keys.node_at("max_concurrency")
    return _group(names or Node(*node.place, items=[]), notes, node, limit, _policy(keys, names))


def _group(names: Node, notes: Notes, at: Node, limit: Node | None = None, policy: Any = "all_or_nothing") -> Node:
    if names.items is None:
        notes.error(names.place, "bad-value", f"'HandlerNames' must be a list of handlers, not {given(names)}")
        names = Node(*names.place, items=[unreadable(names)])
    branches: list[Node] = []
    for position, item in enumerate(names.items or (), start=1):
        if not isinstance(item.scalar, str):
            message = f"item {position} of 'HandlerNames' must be the name of a handler, not {given(item)}"
            notes.error(item.place, "bad-value", message)
        branches.append(item if isinstance(item.scalar, str) else unreadable(item))
    return built(
        at,
        {
            "MaxConcurrency": limit if limit is not None and not is_nothing(limit) else "unlimited",
            "policy": policy,
            "parallel": listed(names, branches),
        },
    )


def _policy(keys: Keys, names: Node | None) -> Any:
    node, least = keys.node_at("policy"), keys.number("minimum_success_count")
    written = node.scalar if node is not None else "AllOrNothing"
    if type(written) is int and 0 <= written < len(_POLICIES):  # C#'s JSON writes an enum as its number
        written = _POLICIES[written]
    if written not in _POLICIES:
        message = f"no policy is named {given(node or keys.node)}{suggest(str(written), _POLICIES)}"
        keys.notes.error(keys.place("policy"), "bad-value", message)
        return "all_or_nothing"
    if written != "MinimumThreshold":
        if least is not None and least != -1:
            message = f"'MinimumSuccessCount' counts with the policy MinimumThreshold only, not with {written}"
            keys.notes.warn(keys.place("minimum_success_count"), "no-effect", message)
        return snake(written)
    count = len(names.items or ()) if names is not None else 0
    if least is not None and (least < -1 or least > count > 0):
        message = f"'MinimumSuccessCount' must be -1 (all) or at most the step's {count} handlers, not {least}"
        keys.notes.error(keys.place("minimum_success_count"), "bad-value", message)
        return "all_or_nothing"
    return {"minimum_threshold": -1 if least is None else least}


def snake(name: str) -> str:
    """`HandlerNames` and `handlerNames` as `handler_names`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _usual(key: str) -> str:
    return snake(key).removeprefix("$")


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
