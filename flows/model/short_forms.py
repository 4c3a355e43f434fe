"""The short forms of a step: a name, a list, and a mapping in which one key (the telling key) determines `type`.

`parallel: {branches: …}` and `for_each: {over: …}` are short forms too: the step's other keys may stand under the
telling key.
"""

import re
from collections.abc import Collection
from typing import Any

KIND_BY_KEY = {
    "handler": "handler",
    "parallel": "parallel",
    "branches": "parallel",
    "for_each": "for_each",
    "merge_results": "merge_results",
    "switch": "switch",
    "cases": "switch",
    "pipeline": "pipeline",
    "steps": "sequential",
}
"""The keys that determine the `type` of a step, in the order in which they decide."""
SUBJECT_KEYS = {"for_each": "over", "merge_results": "from"}
"""Telling keys that may hold a mapping of the step's other keys, or else the value of this one key."""
NESTING_KEYS = ("parallel", "switch", *SUBJECT_KEYS)
"""Telling keys under which the step's other keys may stand."""


def telling_key(keys: Collection[Any]) -> str | None:
    """The key that determines the type of a step with these keys; None if there is none."""
    return next((key for key in KIND_BY_KEY if key in keys), None)


def full_step(value: Any) -> Any:
    """A step in its full form, with `type`; anything that is no short form is returned as it is."""
    if isinstance(value, str):
        return {"type": "handler", "handler": value}
    if isinstance(value, (list, tuple)):
        steps: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]
        return full_step(steps[0]) if len(steps) == 1 else {"type": "sequential", "steps": steps}
    if not isinstance(value, dict) or "type" in value:
        return value  # pyright: ignore[reportUnknownVariableType]
    body: dict[str, Any] = dict(value)  # pyright: ignore[reportUnknownArgumentType]
    key = telling_key(body)
    if key is None:
        return body
    nested = body[key]
    if key in SUBJECT_KEYS:
        del body[key]
        body |= nested if isinstance(nested, dict) else {SUBJECT_KEYS[key]: nested}
    elif key in NESTING_KEYS and isinstance(nested, dict):
        del body[key]
        body |= nested
    return {"type": KIND_BY_KEY[key], **body}


def snake_case(name: str) -> str:
    """`HandlerNames` and `handlerNames` as `handler_names`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
