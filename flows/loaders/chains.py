"""Content chains: steps with `type`, `model` and `params`, and `parallel_group`s of them.

The keys of a group may stand in the step or, in newer chains, in its `params`. The dialect's own defaults are written
into the native form: 3 workers and the strategy collect_all. If the keys stand in the step, the group succeeds when
all branches succeed; if they stand in `params`, or if the strategy needs only one result, it succeeds when any does.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from flows.errors import suggest
from flows.loaders.chain_data import (
    KINDS_OF_DATA,
    ONE_RESULT,
    first_kind,
    is_disabled,
    is_field,
    kind_made,
    kinds_made,
    kinds_of,
    mismatch,
    nearest_type,
    own_types,
    passes_on,
    type_of,
)
from flows.loaders.foreign import KeyReader, Translation, built, identity, listed, pipeline_name, unreadable
from flows.loaders.yaml_nodes import YamlNode

TOP = (
    "name",
    "description",
    "version",
    "prompt",
    "steps",
    "input_type",
    "output_dir",
    "temp_dir",
    "cleanup_temp",
    "save_intermediates",
)
GROUP = ("group_id", "max_workers", "fail_fast", "merge_strategy", "parallel_steps")
STEP = ("type", "name", "model", "params", "enabled", "retry_count", "depends_on")
_KEYS_BY_TYPE = {
    "merge_results": ("from", "merge_strategy"),
    "split_input": ("split_strategy", "over"),
    "batch_process": ("batch_size", "step_template", "inputs", "max_workers"),
}

TYPES = tuple(KINDS_OF_DATA)


def signs(node: YamlNode) -> int:
    """How many signs of this dialect a mapping has."""
    entries = node.entries or {}
    kind = entries["type"].scalar if "type" in entries else None
    known = [name for name in KINDS_OF_DATA if name != "merge_results"]
    found = 1 if isinstance(kind, str) and get_close_matches(kind, known, n=1, cutoff=0.85) else 0
    params = entries["params"].entries if "params" in entries else None
    found += sum(1 for key in GROUP if key != "max_workers" and (key in entries or key in (params or {})))
    return found + (1 if "params" in entries and "type" in entries else 0) + (1 if "prompt" in entries else 0)


def translate(root: YamlNode, translation: Translation, name: str) -> YamlNode:
    """The native form of a document."""
    keys = KeyReader(root, translation, "a chain", TOP)
    for key in ("temp_dir", "cleanup_temp", "save_intermediates"):
        if key in keys:
            message = f"{key!r} has no effect here: every step's result is kept where the run keeps its results"
            translation.warn(keys.position_of(key), "no-effect", message)
    steps = keys.items("steps", "a list of steps") or []
    chain = _ChainTranslator(translation)
    kind = keys.text("input_type") or ("text" if "prompt" in keys else first_kind(steps))
    kind = "text" if kind in ("auto", "any") else kind
    native = chain.steps(steps, kind)
    prompt = keys.node_at("prompt")
    begins: dict[str, Any] = {"description": "The data that the chain begins with."}
    begins |= {"default": prompt} if prompt is not None else {"required": True}
    types = [type_of(step) for step in steps]
    on_a_list = prompt is None and (types[:1] == ["batch_process"] or types[:2] == ["split_input", "parallel_group"])
    parameters: dict[str, Any] = {**({} if on_a_list else {kind: begins}), **chain.parameters}
    if (folder := keys.node_at("output_dir")) is not None:
        parameters["output_dir"] = {"description": "The folder for files.", "default": folder}
    return built(
        root,
        {
            **pipeline_name(keys, name),
            **keys.unchanged("description", "version"),
            "parameters": built(root, {key: built(root, fields) for key, fields in parameters.items()}),
            "steps": listed(keys.node_at("steps") or root, native),
        },
    )


class _ChainTranslator:
    """Translates the steps of one chain in order, since each works on the data of the step before it."""

    def __init__(self, translation: Translation) -> None:
        self.translation = translation
        self.parameters: dict[str, dict[str, Any]] = {}
        self.split: YamlNode | None = None
        self.last_group: str | None = None
        self.kinds: dict[str, set[str]] = {}
        """By group: the kinds of data that its branches make."""
        self.made: set[str] = set()
        """The kinds of data that the steps so far have made."""

    def steps(self, nodes: Sequence[YamlNode], kind: str) -> list[YamlNode]:
        found: list[YamlNode] = []
        available = kind
        for number, node in enumerate(nodes, start=1):
            if message := mismatch(number, node, available):
                self.translation.error((node.entries or {}).get("type", node).position, "type-flow", message)
            step = self._native_step(node)
            if step is None:
                continue
            found.append(step)
            if not passes_on(node):
                available = kind_made(node, step)
                self.made.add(available)
        if self.split is not None:
            message = (
                "'split_input' divides its list among the branches of the parallel group after "
                "it; no parallel group follows"
            )
            self.translation.error(self.split.position, "no-group", message)
        return found

    def _native_step(self, node: YamlNode) -> YamlNode | None:
        """The native form of a step; None for a split, which becomes part of the group after it."""
        if isinstance(node.scalar, str):
            return node
        if node.entries is None:
            message = f"a step must be a mapping with 'type', not {node.description()}"
            self.translation.error(node.position, "bad-step", message)
            return unreadable(node)
        kind = type_of(node)
        nearest = nearest_type(kind)
        if kind not in KINDS_OF_DATA and nearest is not None:
            position = (node.entries or {})["type"].position
            hint = suggest(kind, list(KINDS_OF_DATA))
            self.translation.error(position, "unknown-type", f"{kind!r} is not a valid StepType{hint}")
            kind = nearest
        if kind == "parallel_group":
            return self._group_step(node)
        keys = self._key_reader(node, kind, "a step of a chain")
        written = keys.node_at("type")
        if written is None:
            self.translation.error(node.position, "missing-key", "a step needs 'type', the kind of step")
            return unreadable(node)
        if not isinstance(written.scalar, str):
            keys.report("type", "a text")
            return unreadable(node)
        if kind == "merge_results":
            return self._fan_in(keys, node)
        if kind == "split_input":
            self.split = node
            return None
        if kind == "batch_process":
            return self._batches(keys, node)
        return self._handler_step(keys, node, YamlNode(*written.position, scalar=kind))

    def _key_reader(self, node: YamlNode, kind: str, owner: str) -> KeyReader:
        return KeyReader(node, self.translation, owner, (*STEP, *_KEYS_BY_TYPE.get(kind, ())))

    def _handler_step(self, keys: KeyReader, node: YamlNode, written: YamlNode) -> YamlNode:
        options: dict[str, Any] = {}
        model = keys.node_at("model")
        if model is not None:
            options["model"] = model
        options |= keys.mapping("params")
        fields = self._common_fields(keys, node)
        if not options and not fields:
            return written
        return built(node, {"handler": written, **fields, **({"options": built(node, options)} if options else {})})

    def _common_fields(self, keys: KeyReader, node: YamlNode) -> dict[str, Any]:
        fields: dict[str, Any] = identity(keys.text("name"), self.translation)
        fields |= keys.unchanged("enabled", "depends_on")
        retries = keys.number("retry_count")
        if retries is not None and retries < 0:
            keys.report("retry_count", "0 or more")
        elif retries:
            at = keys.node_at("retry_count") or node
            fields["retry"] = built(at, {"max_attempts": retries + 1})
        return fields

    def _group_step(self, node: YamlNode) -> YamlNode:
        keys = KeyReader(node, self.translation, "a parallel_group", (*STEP, *GROUP))
        params = keys.node_at("params")
        inside = params is not None and any(key in (params.entries or {}) for key in GROUP)
        outside = any(key in keys for key in GROUP)
        if inside and params is not None:
            group = KeyReader(params, self.translation, "the params of a parallel_group", GROUP)
            for key in group.found:
                if key in keys:
                    message = f"{key!r} is set here and in the step; keep one of them"
                    self.translation.error(params.key_position(key), "twice", message)
        else:
            group = keys
            for key in keys.mapping("params"):
                message = f"{str(key)!r} is not a key of the params of a parallel_group"
                at = params or node
                self.translation.error(at.key_position(key), "unknown-key", message + suggest(str(key), GROUP))
        if not inside and not outside:
            self.translation.error(node.position, "no-configuration", "Parallel group missing configuration")
            return unreadable(node)
        nodes = group.items("parallel_steps", "a list of steps") or []
        strategy = group.text("merge_strategy") or "collect_all"
        kinds = kinds_made([branch for branch in nodes if not is_disabled(branch)])
        if strategy == "combine_outputs" and len(set(kinds)) > 1:
            listed_kinds = "{" + ", ".join(repr(kind) for kind in sorted(set(kinds))) + "}"
            message = f"Cannot merge different output types: {listed_kinds}"
            self.translation.error(group.position_of("merge_strategy"), "type-flow", message)
        own_identity = identity(group.text("group_id"), self.translation)
        at = group.node_at("parallel_steps") or node
        if not nodes and "id" not in own_identity:
            self.translation.error(at.position, "empty-group", "Parallel group group_1 has no steps")
        branches = [self._branch_of(number, branch) for number, branch in enumerate(nodes, start=1)]
        fields = self._common_fields(keys, node)
        fields.pop("id", None)
        self.last_group = own_identity.get("id")
        if self.last_group is not None:
            self.kinds[self.last_group] = set(kinds)
        return built(
            node,
            {
                **fields,
                **own_identity,
                "max_workers": group.node_at("max_workers") or 3,
                "policy": _policy(strategy, group.flag("fail_fast", False), any_will_do=inside),
                "merge": built(node, self._merge(strategy, group, kinds)),
                **self._split_fields(),
                **_reducers([*kinds, *own_types(nodes)]),
                "parallel": listed(at, branches),
            },
        )

    def _branch_of(self, number: int, node: YamlNode) -> YamlNode:
        before, split = self.translation.prefix, self.split
        self.translation.prefix, self.split = f"{before}Parallel step {number}: ", None
        try:
            return self._native_step(node) or unreadable(node)
        finally:
            self.translation.prefix, self.split = before, split

    def _merge(self, strategy: str, keys: KeyReader, kinds: Sequence[str]) -> dict[str, Any]:
        written: dict[str, Any] = {"strategy": keys.node_at("merge_strategy") or strategy}
        one_kind = len(set(kinds)) == 1 and is_field(kinds[0])
        # The merged result gets the field name that the next step reads.
        return written | ({"output": kinds[0]} if strategy in ONE_RESULT and one_kind else {})

    def _split_fields(self) -> dict[str, Any]:
        """The field `split` of a group after a `split_input`."""
        if self.split is None:
            return {}
        node, self.split = self.split, None
        keys = self._key_reader(node, "split_input", "a split_input")
        params = keys.mapping("params")
        strategy = keys.node_at("split_strategy") or params.get("split_strategy")
        over = keys.node_at("over") or params.get("over")
        name = strategy.scalar if strategy is not None else "duplicate"
        if name == "custom" and strategy is not None:
            message = "replace 'custom' by the name of a function that is registered with @split_strategy"
            self.translation.error(strategy.position, "unknown-split-strategy", message)
        field = over.scalar if over is not None else "items"
        if isinstance(field, str) and field not in self.made:
            about = {"type": "list", "required": True, "description": "The list to divide among the branches."}
            self.parameters.setdefault(field, about)
        return {"split": built(node, {"strategy": strategy or name, "over": over or field})}

    def _fan_in(self, keys: KeyReader, node: YamlNode) -> YamlNode:
        params = keys.mapping("params")
        given = keys.node_at("from") or params.get("from") or params.get("group_id")
        strategy = keys.node_at("merge_strategy") or params.get("merge_strategy")
        if given is None and self.last_group is None:
            message = "'merge_results' needs an earlier parallel group with a group_id; there is none"
            self.translation.error(node.position, "no-group", message)
            return unreadable(node)
        fields = self._common_fields(keys, node)
        group = str(given.scalar) if given is not None else str(self.last_group)
        kinds = self.kinds.get(group, set())
        single = strategy is not None and strategy.scalar in ONE_RESULT and len(kinds) == 1
        kind = next(iter(kinds)) if single else "any"
        return built(
            node,
            {
                "type": "merge_results",
                **fields,
                "from": given or self.last_group,
                "strategy": strategy or "collect_all",
                **({"output": kind} if is_field(kind) else {}),
            },
        )

    def _batches(self, keys: KeyReader, node: YamlNode) -> YamlNode:
        params = {**keys.mapping("params")}
        params |= {key: keys.found[key][1] for key in _KEYS_BY_TYPE["batch_process"] if key in keys}
        template, inputs = params.get("step_template"), params.get("inputs")
        if template is None:
            message = "'batch_process' needs 'step_template': the step that every input goes through"
            self.translation.error(node.position, "missing-key", message)
            return unreadable(node)
        over: Any = inputs if inputs is not None and isinstance(inputs.scalar, str) else "inputs"
        if not isinstance(over, YamlNode):
            about: dict[str, Any] = {"type": "list", "description": "The inputs of the batches."}
            self.parameters["inputs"] = about | ({"default": inputs} if inputs is not None else {"required": True})
        expected, made = kinds_of(type_of(template))
        collect = {"collect": [made]} if is_field(made) else {}
        step = self._native_step(template) or unreadable(template)
        size = params.get("batch_size")
        return built(
            node,
            {
                **self._common_fields(keys, node),
                "for_each": over,
                "as": expected if expected != "any" else "item",
                "max_workers": params.get("max_workers") or size or 3,
                **collect,
                "steps": listed(template, [step]),
            },
        )


def _policy(strategy: str, fail_fast: bool, *, any_will_do: bool) -> Any:
    if not (any_will_do or strategy in ONE_RESULT):
        return "fail_fast" if fail_fast else "all_or_nothing"
    siblings = "cancel" if fail_fast else "continue"
    return {"on_branch_failure": siblings, "success_when": "any", "merge_when_failed": "successful"}


def _reducers(kinds: Sequence[str]) -> dict[str, Any]:
    """Reducers for the fields that several branches write: such a field then holds the data of each branch by name."""
    twice = sorted({kind for kind in kinds if kinds.count(kind) > 1 and is_field(kind)})
    return {"reducers": dict.fromkeys(twice, "namespaced")} if twice else {}
