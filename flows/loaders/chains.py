"""Content chains: steps with `type`, `model` and `params`, and `parallel_group`s of them.

A group's keys may stand in the step, or in its `params` as newer chains have them. Written out: 3 workers, the strategy
collect_all, and what a failed branch means: with keys in the step a group succeeds when all branches do, with keys in
`params` when any does, and a strategy that needs one result needs one success. Every step works on what the one before
it made, so kinds of data that do not fit are refused.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from flows.errors import suggest
from flows.loaders.foreign import Keys, Notes, built, given, identity, listed, unreadable
from flows.loaders.positions import Node

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
"""Step: the kind of data it works on, and the kind it makes."""
_PASSING_ON = ("prompt_generation",)
"""Steps that leave the data of the chain as it is."""
_TOP = (
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
_GROUP = ("group_id", "max_workers", "fail_fast", "merge_strategy", "parallel_steps")
_STEP = ("type", "name", "model", "params", "enabled", "retry_count", "depends_on")
_ONE_RESULT = ("first_success", "best_quality", "combine_outputs", "fastest_success")


def signs(node: Node) -> int:
    """How much in one mapping speaks for this dialect."""
    entries = node.entries or {}
    kind = entries["type"].scalar if "type" in entries else None
    known = [name for name in KINDS_OF_DATA if name != "merge_results"]
    found = 1 if isinstance(kind, str) and get_close_matches(kind, known, n=1, cutoff=0.85) else 0
    params = entries["params"].entries if "params" in entries else None
    found += sum(1 for key in _GROUP if key != "max_workers" and (key in entries or key in (params or {})))
    return found + (1 if "params" in entries and "type" in entries else 0) + (1 if "prompt" in entries else 0)


def translate(root: Node, notes: Notes, name: str) -> Node:
    """The native form of a document."""
    keys = Keys(root, notes, "a chain", _TOP)
    for key in ("temp_dir", "cleanup_temp", "save_intermediates"):
        if key in keys:
            message = f"{key!r} has no effect here: every step's result is kept where the run keeps its results"
            notes.warn(keys.place(key), "no-effect", message)
    steps = keys.listed("steps", "a list of steps") or []
    chain = _Chain(notes)
    kind = keys.text("input_type") or ("text" if "prompt" in keys else _first_kind(steps))
    kind = "text" if kind in ("auto", "any") else kind
    native = chain.steps(steps, kind)
    prompt = keys.node_at("prompt")
    begins: dict[str, Any] = {"description": "What the chain begins with."}
    begins |= {"default": prompt} if prompt is not None else {"required": True}
    kinds = [_type(step) for step in steps]
    on_a_list = prompt is None and (kinds[:1] == ["batch_process"] or kinds[:2] == ["split_input", "parallel_group"])
    parameters: dict[str, Any] = {**({} if on_a_list else {kind: begins}), **chain.parameters}
    if (folder := keys.node_at("output_dir")) is not None:
        parameters["output_dir"] = {"description": "Where files go.", "default": folder}
    return built(
        root,
        {
            "name": keys.node_at("name") or name,
            **keys.passed_on("description", "version"),
            "parameters": built(root, {key: built(root, fields) for key, fields in parameters.items()}),
            "steps": listed(keys.node_at("steps") or root, native),
        },
    )


class _Chain:
    """The steps of one chain, read in order: each works on what the one before it made."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.parameters: dict[str, dict[str, Any]] = {}
        self.split: Node | None = None
        self.last_group: str | None = None
        self.kinds: dict[str, set[str]] = {}
        """By group: the kinds of data that its branches make."""
        self.made: set[str] = set()
        """The kinds of data, which are fields, that steps so far have made."""

    def steps(self, nodes: Sequence[Node], kind: str) -> list[Node]:
        found: list[Node] = []
        available = kind
        for position, node in enumerate(nodes, start=1):
            step_type = _type(node)
            self._fits(position, step_type, node, available)
            step = self._step(node)
            if step is None:
                continue
            found.append(step)
            made = KINDS_OF_DATA.get(step_type, ("any", "any"))[1]
            if step_type == "parallel_group":
                made = self._made_by_group(node)
            if step_type == "merge_results":
                made = str((step.entries or {})["output"].scalar) if "output" in (step.entries or {}) else "any"
            if not (_disabled(node) or step_type in _PASSING_ON):
                available = made
                self.made.add(made)
        if self.split is not None:
            message = "'split_input' deals its list out to the parallel group after it; there is none"
            self.notes.error(self.split.place, "no-group", message)
        return found

    def _fits(self, position: int, step_type: str, node: Node, available: str) -> None:
        expected = KINDS_OF_DATA.get(step_type, ("any", "any"))[0]
        if _disabled(node) or expected == "any" or available in ("any", expected):
            return
        if available == "parallel" and expected != "list":
            return  # a later step may work on the fields that the branches wrote
        if expected == "list" and available == "text":
            return  # a list may be what the chain is given
        place = (node.entries or {}).get("type", node).place
        message = f"Step {position} expects {expected} but available data is {available}"
        self.notes.error(place, "type-flow", message)

    def _step(self, node: Node) -> Node | None:
        if isinstance(node.scalar, str):
            return node
        if node.entries is None:
            self.notes.error(node.place, "bad-step", f"a step must be a mapping with 'type', not {given(node)}")
            return unreadable(node)
        kind = _type(node)
        close = get_close_matches(kind, list(KINDS_OF_DATA), n=1, cutoff=0.85)
        if kind not in KINDS_OF_DATA and close:
            place = (node.entries or {})["type"].place
            hint = suggest(kind, list(KINDS_OF_DATA))
            self.notes.error(place, "unknown-type", f"{kind!r} is not a valid StepType{hint}")
            kind = close[0]
        if kind == "parallel_group":
            return self._group(node)
        keys = Keys(node, self.notes, "a step of a chain", (*_STEP, *_extra(kind)))
        written = keys.node_at("type")
        if written is None:
            self.notes.error(node.place, "missing-key", "a step needs 'type': what it does")
            return unreadable(node)
        if not isinstance(written.scalar, str):
            keys.wrong("type", "a text")
            return unreadable(node)
        if kind == "merge_results":
            return self._fan_in(keys, node)
        if kind == "split_input":
            self.split = node
            return None
        if kind == "batch_process":
            return self._batches(keys, node)
        return self._call(keys, node, Node(*written.place, scalar=kind))

    def _call(self, keys: Keys, node: Node, written: Node) -> Node:
        options: dict[str, Any] = {}
        model = keys.node_at("model")
        if model is not None:
            options["model"] = model
        options |= keys.mapping("params")
        fields = self._common(keys, node)
        if not options and not fields:
            return written
        return built(node, {"handler": written, **fields, **({"options": built(node, options)} if options else {})})

    def _common(self, keys: Keys, node: Node) -> dict[str, Any]:
        fields: dict[str, Any] = identity(keys.text("name"), self.notes)
        fields |= keys.passed_on("enabled", "depends_on")
        retries = keys.number("retry_count")
        if retries is not None and retries < 0:
            keys.wrong("retry_count", "0 or more")
        elif retries:
            at = keys.node_at("retry_count") or node
            fields["retry"] = built(at, {"max_attempts": retries + 1})
        return fields

    def _group(self, node: Node) -> Node:
        keys = Keys(node, self.notes, "a parallel_group", (*_STEP, *_GROUP))
        params = keys.node_at("params")
        inside = params is not None and any(key in (params.entries or {}) for key in _GROUP)
        outside = any(key in keys for key in _GROUP)
        if inside and params is not None:
            where = Keys(params, self.notes, "the params of a parallel_group", _GROUP)
            for key in where.found:
                if key in keys:
                    message = f"{key!r} stands here and in the step; keep one of them"
                    self.notes.error(params.key_place(key), "twice", message)
        else:
            where = keys
            for key in keys.mapping("params"):
                message = f"{str(key)!r} is no key of the params of a parallel_group"
                at = params or node
                self.notes.error(at.key_place(key), "unknown-key", message + suggest(str(key), _GROUP))
        if not inside and not outside:
            self.notes.error(node.place, "no-configuration", "Parallel group missing configuration")
            return unreadable(node)
        group_id = where.text("group_id")
        nodes = where.listed("parallel_steps", "a list of steps") or []
        strategy = where.text("merge_strategy") or "collect_all"
        kinds = [_made_by(_type(branch)) for branch in nodes if not _disabled(branch)]
        if strategy == "combine_outputs" and len(set(kinds)) > 1:
            listed_kinds = "{" + ", ".join(repr(kind) for kind in sorted(set(kinds))) + "}"
            message = f"Cannot merge different output types: {listed_kinds}"
            self.notes.error(where.place("merge_strategy"), "type-flow", message)
        named = identity(group_id, self.notes)
        at = where.node_at("parallel_steps") or node
        if not nodes and "id" not in named:
            self.notes.error(at.place, "empty-group", "Parallel group group_1 has no steps")
        branches = [self._branch(position, branch) for position, branch in enumerate(nodes, start=1)]
        fields = self._common(keys, node)
        fields.pop("id", None)
        self.last_group = named.get("id")
        if self.last_group is not None:
            self.kinds[self.last_group] = set(kinds)
        return built(
            node,
            {
                **fields,
                **named,
                "max_workers": where.node_at("max_workers") or 3,
                "policy": _policy(strategy, where.flag("fail_fast", False), any_will_do=inside),
                "merge": built(node, self._merge(strategy, where, kinds)),
                **self._dealt(),
                **_shared(kinds),
                "parallel": listed(at, branches),
            },
        )

    def _branch(self, position: int, node: Node) -> Node:
        before, self.notes.prefix = self.notes.prefix, f"{self.notes.prefix}Parallel step {position}: "
        split, self.split = self.split, None
        try:
            return self._step(node) or unreadable(node)
        finally:
            self.notes.prefix, self.split = before, split

    def _merge(self, strategy: str, keys: Keys, kinds: Sequence[str]) -> dict[str, Any]:
        written: dict[str, Any] = {"strategy": keys.node_at("merge_strategy") or strategy}
        one_kind = len(set(kinds)) == 1 and kinds[0] not in ("any", "parallel", "list")
        # The chain goes on with the one result, under the name by which the next step reads it.
        return written | ({"output": kinds[0]} if strategy in _ONE_RESULT and one_kind else {})

    def _dealt(self) -> dict[str, Any]:
        if self.split is None:
            return {}
        node, self.split = self.split, None
        keys = Keys(node, self.notes, "a split_input", (*_STEP, *_extra("split_input")))
        params = keys.mapping("params")
        strategy = keys.node_at("split_strategy") or params.get("split_strategy")
        over = keys.node_at("over") or params.get("over")
        name = strategy.scalar if strategy is not None else "duplicate"
        if name == "custom" and strategy is not None:
            message = "'custom' stands for a function; name one that is registered with @split_strategy"
            self.notes.error(strategy.place, "unknown-split-strategy", message)
        field = over.scalar if over is not None else "items"
        if isinstance(field, str) and field not in self.made:
            about = {"type": "list", "required": True, "description": "The list that is dealt out."}
            self.parameters.setdefault(field, about)
        return {"split": built(node, {"strategy": strategy or name, "over": over or field})}

    def _fan_in(self, keys: Keys, node: Node) -> Node:
        params = keys.mapping("params")
        source = keys.node_at("from") or params.get("from") or params.get("group_id")
        strategy = keys.node_at("merge_strategy") or params.get("merge_strategy")
        if source is None and self.last_group is None:
            message = "'merge_results' merges a parallel group before it; there is none with a group_id"
            self.notes.error(node.place, "no-group", message)
            return unreadable(node)
        fields = self._common(keys, node)
        group = str(source.scalar) if source is not None else str(self.last_group)
        kinds = self.kinds.get(group, set())
        single = strategy is not None and strategy.scalar in _ONE_RESULT and len(kinds) == 1
        kind = next(iter(kinds)) if single else "any"
        return built(
            node,
            {
                "type": "merge_results",
                **fields,
                "from": source or self.last_group,
                "strategy": strategy or "collect_all",
                **({"output": kind} if kind not in ("any", "parallel", "list") else {}),
            },
        )

    def _batches(self, keys: Keys, node: Node) -> Node:
        params = {**keys.mapping("params")}
        params |= {key: keys.found[key][1] for key in _extra("batch_process") if key in keys}
        template, inputs = params.get("step_template"), params.get("inputs")
        if template is None:
            message = "'batch_process' needs 'step_template': the step that every input goes through"
            self.notes.error(node.place, "missing-key", message)
            return unreadable(node)
        over: Any = inputs if inputs is not None and isinstance(inputs.scalar, str) else "inputs"
        if not isinstance(over, Node):
            about: dict[str, Any] = {"type": "list", "description": "The inputs of the batches."}
            self.parameters["inputs"] = about | ({"default": inputs} if inputs is not None else {"required": True})
        kind = KINDS_OF_DATA.get(_type(template), ("any", "any"))
        item = kind[0] if kind[0] != "any" else "item"
        leaving = {"collect": [kind[1]]} if kind[1] not in ("any", "parallel", "list") else {}
        step = self._step(template) or unreadable(template)
        size = params.get("batch_size")
        return built(
            node,
            {
                **self._common(keys, node),
                "for_each": over,
                "as": item,
                "max_workers": params.get("max_workers") or size or 3,
                **leaving,
                "steps": listed(template, [step]),
            },
        )

    def _made_by_group(self, node: Node) -> str:
        where = node.entries or {}
        if "params" in where and "parallel_steps" in (where["params"].entries or {}):
            where = where["params"].entries or {}
        strategy = where["merge_strategy"].scalar if "merge_strategy" in where else "collect_all"
        branches = (where["parallel_steps"].items if "parallel_steps" in where else None) or []
        kinds = {_made_by(_type(branch)) for branch in branches}
        return kinds.pop() if strategy in _ONE_RESULT and len(kinds) == 1 else "parallel"


def _policy(strategy: str, fail_fast: bool, *, any_will_do: bool) -> Any:
    if not (any_will_do or strategy in _ONE_RESULT):
        return "fail_fast" if fail_fast else "all_or_nothing"
    siblings = "cancel" if fail_fast else "continue"
    return {"on_branch_failure": siblings, "success_when": "any", "merge_when_failed": "successful"}


def _shared(kinds: Sequence[str]) -> dict[str, Any]:
    """Branches that make the same kind of data write the same field; it then holds what each of them made."""
    twice = sorted({kind for kind in kinds if kinds.count(kind) > 1 and kind not in ("any", "parallel", "list")})
    return {"reducers": dict.fromkeys(twice, "namespaced")} if twice else {}


def _extra(kind: str) -> tuple[str, ...]:
    return {
        "merge_results": ("from", "merge_strategy"),
        "split_input": ("split_strategy", "over"),
        "batch_process": ("batch_size", "step_template", "inputs", "max_workers"),
    }.get(kind, ())


def _type(node: Node) -> str:
    if isinstance(node.scalar, str):
        return node.scalar
    kind = (node.entries or {}).get("type")
    return kind.scalar if kind is not None and isinstance(kind.scalar, str) else ""


def _made_by(step_type: str) -> str:
    """The kind of data that a step makes, its type perhaps misspelt."""
    close = get_close_matches(step_type, list(KINDS_OF_DATA), n=1, cutoff=0.85)
    return KINDS_OF_DATA[close[0]][1] if close else "any"


def _disabled(node: Node) -> bool:
    enabled = (node.entries or {}).get("enabled")
    return enabled is not None and enabled.scalar is False


def _first_kind(steps: Sequence[Node]) -> str:
    for node in steps:
        kind = KINDS_OF_DATA.get(_type(node), ("any", ""))[0]
        if _type(node) == "parallel_group":
            entries = node.entries or {}
            where = entries.get("parallel_steps") or (
                (entries["params"].entries or {}).get("parallel_steps") if "params" in entries else None
            )
            kind = _first_kind((where.items if where is not None else None) or [])
        if kind in ("text", "image", "video", "audio"):
            return kind
    return "text"
