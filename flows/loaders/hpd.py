"""HPD step lists: `SequentialStep` and `ParallelStep` objects as YAML or JSON, or plain lists of handlers' names.

Keys may be written as in C# (`HandlerNames`), as in its JSON (`handlerNames`) or with underscores. The dialect's own
defaults are written into the native form: `MaxConcurrency` is unlimited, `Policy` is AllOrNothing.
"""

import re
from typing import Any

from flows.errors import suggest
from flows.loaders.foreign import KeyReader, Translation, built, listed, pipeline_name, unreadable
from flows.loaders.yaml_nodes import YamlNode
from flows.model import snake_case

TOP = ("name", "description", "version", "parameters", "steps", "index", "document_id", "query")
_KINDS = ("SequentialStep", "ParallelStep")
SEQUENTIAL, PARALLEL = ("handler_name",), ("handler_names", "max_concurrency", "policy", "minimum_success_count")
_POLICIES = ("AllOrNothing", "BestEffort", "MinimumThreshold")
_CONTEXT = {
    "index": "The index to work on.",
    "document_id": "The document to ingest.",
    "query": "The question to search for.",
}


def signs(node: YamlNode) -> int:
    """How many signs of this dialect one mapping has."""
    keys = [str(key) for key in node.entries or {}]
    found = sum(
        1 for key in keys if snake_case(key) in (*SEQUENTIAL, "handler_names", "sequential_step", "parallel_step")
    )
    found += sum(1 for key in keys if re.match(r"Handler[A-Z]|handler[A-Z]|MinimumSuccess", key))
    kind = (node.entries or {}).get("type", (node.entries or {}).get("$type"))
    found += 1 if kind is not None and re.search(r"(Sequential|Parallel)Step", str(kind.scalar)) else 0
    return found + (1 if "Steps" in keys else 0)


def translate(root: YamlNode, translation: Translation, name: str) -> YamlNode:
    """The native form of a document."""
    if root.items is not None:
        return built(
            root, {"name": name, "steps": listed(root, [_native_step(item, translation) for item in root.items])}
        )
    keys = KeyReader(root, translation, "an HPD pipeline", TOP, normal=_normal_key, written=_pascal)
    parameters: dict[Any, YamlNode] = dict(keys.mapping("parameters")) if "parameters" in keys else {}
    parameters |= {
        key: built(root, {"description": about, "default": node})
        for key, about in _CONTEXT.items()
        if (node := keys.node_at(key)) is not None
    }
    steps = keys.items("steps", "a list of steps") or []
    return built(
        root,
        {
            **pipeline_name(keys, name),
            **keys.unchanged("description", "version"),
            **({"parameters": built(root, parameters)} if parameters else {}),
            "steps": listed(keys.node_at("steps") or root, [_native_step(item, translation) for item in steps]),
        },
    )


def _native_step(node: YamlNode, translation: Translation) -> YamlNode:
    if isinstance(node.scalar, str):
        return node
    if node.entries is None:
        message = f"a step must be the name of a handler, a SequentialStep or a ParallelStep, not {node.description()}"
        translation.error(node.position, "bad-step", message)
        return unreadable(node)
    for key, inner in node.entries.items():
        if snake_case(str(key)) in ("sequential_step", "parallel_step") and len(node.entries) == 1:
            parallel = snake_case(str(key)) == "parallel_step"
            if inner.entries is not None:
                return _parallel_step(inner, translation) if parallel else _sequential_step(inner, translation)
            if parallel:
                return _group_step(inner, translation, inner)
            return _handler_step(inner, inner, "SequentialStep", translation)
    kind = _node_kind(node, translation)
    if kind == "ParallelStep":
        return _parallel_step(node, translation)
    if kind == "SequentialStep":
        return _sequential_step(node, translation)
    message = "the kind of this step is unknown; it needs HandlerName (one handler) or HandlerNames (several at once)"
    translation.error(node.position, "bad-step", message)
    return unreadable(node)


def _node_kind(node: YamlNode, translation: Translation) -> str:
    for key, value in (node.entries or {}).items():
        if str(key) in ("type", "$type"):
            found = re.search(r"(\w+Step)\b", str(value.scalar))
            if found and found[1] in _KINDS:
                return found[1]
            hint = suggest(str(value.scalar), _KINDS)
            translation.error(value.position, "unknown-type", f"no step has the type {value.description()}{hint}")
    keys = [snake_case(str(key)) for key in node.entries or {}]
    if "handler_names" in keys:
        return "ParallelStep"
    near = any(key.startswith("handler") for key in keys)
    several = any(key in PARALLEL for key in keys)
    return "ParallelStep" if several else "SequentialStep" if near else ""


def _sequential_step(node: YamlNode, translation: Translation) -> YamlNode:
    keys = KeyReader(node, translation, "a SequentialStep", ("type", *SEQUENTIAL), normal=_normal_key, written=_pascal)
    found = keys.node_at("handler_name")
    if found is None:
        translation.error(node.position, "missing-key", "a SequentialStep needs 'HandlerName': the handler it calls")
        return unreadable(node)
    return _handler_step(found, node, "HandlerName", translation)


def _handler_step(name: YamlNode, at: YamlNode, key: str, translation: Translation) -> YamlNode:
    if isinstance(name.scalar, str) and name.scalar:
        return name
    translation.error(name.position, "bad-value", f"{key!r} must be the name of a handler, not {name.description()}")
    return unreadable(at)


def _parallel_step(node: YamlNode, translation: Translation) -> YamlNode:
    keys = KeyReader(node, translation, "a ParallelStep", ("type", *PARALLEL), normal=_normal_key, written=_pascal)
    names = keys.node_at("handler_names")
    limit = keys.node_at("max_concurrency")
    return _group_step(names or YamlNode(*node.position, items=[]), translation, node, limit, _policy(keys, names))


def _group_step(
    names: YamlNode,
    translation: Translation,
    at: YamlNode,
    limit: YamlNode | None = None,
    policy: Any = "all_or_nothing",
) -> YamlNode:
    if names.items is None:
        message = f"'HandlerNames' must be a list of handlers, not {names.description()}"
        translation.error(names.position, "bad-value", message)
        names = YamlNode(*names.position, items=[unreadable(names)])
    branches: list[YamlNode] = []
    for number, item in enumerate(names.items or (), start=1):
        if not isinstance(item.scalar, str):
            message = f"item {number} of 'HandlerNames' must be the name of a handler, not {item.description()}"
            translation.error(item.position, "bad-value", message)
        branches.append(item if isinstance(item.scalar, str) else unreadable(item))
    return built(
        at,
        {
            "MaxConcurrency": limit if limit is not None and not limit.is_null else "unlimited",
            "policy": policy,
            "parallel": listed(names, branches),
        },
    )


def _policy(keys: KeyReader, names: YamlNode | None) -> Any:
    node, least = keys.node_at("policy"), keys.number("minimum_success_count")
    written = node.scalar if node is not None else "AllOrNothing"
    if type(written) is int and 0 <= written < len(_POLICIES):  # C#'s JSON writes an enum as its number
        written = _POLICIES[written]
    if written not in _POLICIES:
        message = f"no policy is named {(node or keys.node).description()}{suggest(str(written), _POLICIES)}"
        keys.translation.error(keys.position_of("policy"), "bad-value", message)
        return "all_or_nothing"
    if written != "MinimumThreshold":
        if least is not None and least != -1:
            message = f"'MinimumSuccessCount' counts with the policy MinimumThreshold only, not with {written}"
            keys.translation.warn(keys.position_of("minimum_success_count"), "no-effect", message)
        return snake_case(written)
    count = len(names.items or ()) if names is not None else 0
    if least is not None and (least < -1 or least > count > 0):
        message = f"'MinimumSuccessCount' must be -1 (all) or at most the step's {count} handlers, not {least}"
        keys.translation.error(keys.position_of("minimum_success_count"), "bad-value", message)
        return "all_or_nothing"
    return {"minimum_threshold": -1 if least is None else least}


def _normal_key(key: str) -> str:
    return snake_case(key).removeprefix("$")


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def spellings(key: str) -> tuple[str, ...]:
    """The accepted spellings of a key."""
    pascal = _pascal(key)
    return tuple(dict.fromkeys((key, pascal, pascal[:1].lower() + pascal[1:])))
