"""The kinds of data in a content chain: the kind that each step works on, and the kind that it makes.

A kind is also the name of the field that holds the data. Every step works on the data of the step before it, so the
output kind of one must be the input kind of the next.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from flows.loaders.yaml_nodes import YamlNode

KINDS_OF_DATA: Mapping[str, tuple[str, str]] = {
    "text_generation": ("text", "text"),
    "text_to_image": ("text", "image"),
    "text_to_speech": ("text", "audio"),
    "text_to_video": ("text", "video"),
    "image_understanding": ("image", "text"),
    "image_to_text": ("image", "text"),
    "prompt_generation": ("image", "text"),
    "image_to_image": ("image", "image"),
    "image_to_video": ("image", "video"),
    "add_audio": ("video", "video"),
    "upscale_video": ("video", "video"),
    "generate_subtitles": ("video", "video"),
    "replicate_multitalk": ("any", "video"),
    "parallel_group": ("any", "parallel"),
    "merge_results": ("parallel", "any"),
    "split_input": ("list", "list"),
    "batch_process": ("list", "list"),
}
"""By type of step: the kind of its input and the kind of its output."""
ONE_RESULT = ("first_success", "best_quality", "combine_outputs", "fastest_success")
"""Merge strategies that make one result of a group, of the kind that its branches make."""
_PASSING_ON = ("prompt_generation",)
"""Types of steps that pass their input on unchanged to the next step."""


def type_of(node: YamlNode) -> str:
    """The type of a step; '' if it has none."""
    if isinstance(node.scalar, str):
        return node.scalar
    kind = (node.entries or {}).get("type")
    return kind.scalar if kind is not None and isinstance(kind.scalar, str) else ""


def nearest_type(step_type: str) -> str | None:
    """The known type that is nearest to one that may be misspelt."""
    return next(iter(get_close_matches(step_type, list(KINDS_OF_DATA), n=1, cutoff=0.85)), None)


def is_disabled(node: YamlNode) -> bool:
    enabled = (node.entries or {}).get("enabled")
    return enabled is not None and enabled.scalar is False


def is_field(kind: str) -> bool:
    """Whether a kind of data is the name of one field."""
    return kind not in ("any", "parallel", "list")


def kinds_of(step_type: str) -> tuple[str, str]:
    """The kind of data that a step works on, and the kind that it makes; `any` for an unknown step."""
    return KINDS_OF_DATA.get(step_type, ("any", "any"))


def kinds_made(branches: Sequence[YamlNode]) -> list[str]:
    """The kind of data that each branch makes, misspelt types included."""
    return [kinds_of(nearest_type(type_of(branch)) or "")[1] for branch in branches]


def own_types(branches: Sequence[YamlNode]) -> list[str]:
    """The types of branches that are handlers of the author's own, which write a field of their name by default."""
    types = [type_of(branch) for branch in branches if not is_disabled(branch)]
    return [each for each in types if each and nearest_type(each) is None]


def passes_on(node: YamlNode) -> bool:
    """Whether a step passes its input on unchanged to the next step."""
    return is_disabled(node) or type_of(node) in _PASSING_ON


def kind_made(node: YamlNode, native: YamlNode) -> str:
    """The kind of data that a step makes; `native` is the step's native form."""
    step_type = type_of(node)
    if step_type == "parallel_group":
        return _kind_of_group(node)
    if step_type == "merge_results":
        output = (native.entries or {}).get("output")
        return str(output.scalar) if output is not None else "any"
    return kinds_of(step_type)[1]


def _kind_of_group(node: YamlNode) -> str:
    strategy = _group_key(node, "merge_strategy")
    kinds = set(kinds_made(_branches(node)))
    one_result = strategy is not None and strategy.scalar in ONE_RESULT
    return kinds.pop() if one_result and len(kinds) == 1 else "parallel"


def _branches(node: YamlNode) -> Sequence[YamlNode]:
    steps = _group_key(node, "parallel_steps")
    return (steps.items if steps is not None else None) or []


def _group_key(node: YamlNode, key: str) -> YamlNode | None:
    """The value of a group's key, which may stand in the step or in its `params`."""
    entries = node.entries or {}
    params = (entries["params"].entries or {}) if "params" in entries else {}
    return (params if "parallel_steps" in params else entries).get(key)


def mismatch(number: int, node: YamlNode, available: str) -> str | None:
    """The complaint about a step whose kind of input is not the one that is available; None if it fits."""
    expected = kinds_of(type_of(node))[0]
    if is_disabled(node) or expected == "any" or available in ("any", expected):
        return None
    if available == "parallel" and expected != "list":
        return None  # the step may work on the fields that the branches wrote
    if expected == "list" and available == "text":
        return None  # the input text of the chain may be a list
    return f"Step {number} expects {expected} but available data is {available}"


def first_kind(steps: Sequence[YamlNode]) -> str:
    """The kind of data that a chain begins with, derived from its first steps; a text if they leave it open."""
    for node in steps:
        kind = kinds_of(type_of(node))[0]
        if type_of(node) == "parallel_group":
            kind = first_kind(_branches(node))
        if kind in ("text", "image", "video", "audio"):
            return kind
    return "text"
