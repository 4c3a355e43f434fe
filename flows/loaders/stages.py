"""Stages of jobs: stages run one after another, the jobs of a stage are independent of each other.

Written out: `max_workers` is 1, for the whole pipeline where no stage gives it, so that a run may raise it; and
`stop_on_failure` is true, which stops the other jobs; false lets them finish and the stages after them run, and the
run has failed in the end. A job is a handler, or a pipeline where it is written `pipeline.NAME`. A stage with a `loop`
runs its jobs in order for each item. `@payload.NAME` makes NAME a parameter of the pipeline, which a run must give.
"""

import re
from collections.abc import Sequence
from typing import Any

from flows.loaders.foreign import Keys, Notes, built, given, identity, listed, unreadable
from flows.loaders.positions import Node

_OPEN = re.compile(r"@payload\.([A-Za-z_]\w*)")
_TOP = ("name", "pipeline_id", "description", "version", "stages", "stop_on_failure")
_STAGE = ("name", "jobs", "stop_on_failure", "max_workers", "loop", "enabled")
_LOOP = ("over", "payload", "jobs", "max_items")
_JOB = ("job", "payload", "enabled", "idempotency_key")


def signs(node: Node) -> int:
    """How much in one mapping speaks for this dialect."""
    return sum(2 for key in node.entries or {} if key in ("stages", "jobs")) + sum(
        1 for key in node.entries or {} if key in ("stop_on_failure", "pipeline_id", "loop")
    )


def translate(root: Node, notes: Notes, name: str) -> Node:
    """The native form of a document."""
    keys = Keys(root, notes, "a pipeline of stages", _TOP)
    stop = keys.flag("stop_on_failure", True)
    stages = keys.listed("stages", "a list of stages") or []
    if not stages and "stages" in keys:
        notes.error(keys.place("stages"), "no-steps", "a pipeline has no stages; list them under 'stages'")
    unread = [unreadable(root)] if "stages" in keys else []
    limited = any("max_workers" in (stage.entries or {}) for stage in stages)
    steps = [_stage(stage, notes, stop, limited) for stage in stages]
    return built(
        root,
        {
            "name": keys.node_at("name") or keys.node_at("pipeline_id") or name,
            **keys.passed_on("description", "version"),
            **({} if limited else {"max_workers": 1}),
            **_parameters(root),
            "steps": listed(keys.node_at("stages") or root, steps or unread),
        },
    )


def _parameters(root: Node) -> dict[str, Node]:
    """The names that stay open in the file, declared."""
    names: dict[str, None] = {}

    def look(node: Node) -> None:
        for inner in (*(node.entries or {}).values(), *(node.items or ())):
            look(inner)
        if isinstance(node.scalar, str) and (found := _OPEN.match(node.scalar)):
            names[found[1]] = None

    look(root)
    if not names:
        return {}
    return {"parameters": built(root, {name: built(root, {"required": True}) for name in names})}


def _stage(node: Node, notes: Notes, stop: bool, limited: bool) -> Node:
    if node.entries is None:
        notes.error(node.place, "bad-step", f"a stage must be a mapping with 'name' and 'jobs', not {given(node)}")
        return unreadable(node)
    keys = Keys(node, notes, "a stage", _STAGE)
    name = keys.text("name")
    if name is None and "name" not in keys:
        notes.error(node.place, "missing-key", "a stage needs 'name'")
    stop = keys.flag("stop_on_failure", stop)
    fields: dict[str, Any] = {**identity(name, notes), **keys.passed_on("enabled")}
    if limited:
        fields["max_workers"] = keys.node_at("max_workers") or 1
    loop = keys.node_at("loop")
    if loop is not None:
        return _loop(loop, keys, notes, fields, stop)
    jobs = keys.listed("jobs", "a list of jobs")
    if not jobs:
        notes.error(keys.place("jobs"), "empty-group", f"stage {name or '?'} has no jobs; list them under 'jobs'")
        return unreadable(node)
    return built(
        node,
        {
            **fields,
            "policy": "fail_fast" if stop else "keep_going",
            **_shared(jobs),
            "parallel": listed(keys.node_at("jobs") or node, [_job(job, notes, None) for job in jobs]),
        },
    )


def _shared(jobs: Sequence[Node]) -> dict[str, Any]:
    """A job that stands twice in a stage writes its field twice; it then holds what each of them gave."""
    names = [_job_name(job) for job in jobs]
    twice = sorted({name for name in names if name and names.count(name) > 1 and not name.startswith("pipeline.")})
    return {"reducers": dict.fromkeys(twice, "namespaced")} if twice else {}


def _job_name(node: Node) -> str:
    at = (node.entries or {}).get("job", node)
    return at.scalar if isinstance(at.scalar, str) else ""


def _loop(loop: Node, stage: Keys, notes: Notes, fields: dict[str, Any], stop: bool) -> Node:
    if loop.entries is None:
        stage.wrong("loop", "a mapping with 'over' and 'jobs'")
        return unreadable(loop)
    keys = Keys(loop, notes, "a loop", _LOOP)
    over = keys.node_at("over")
    if over is None or not isinstance(over.scalar, str):
        message = "a loop needs 'over': a field or a reference such as '@run.peek.items'"
        notes.error(keys.place("over"), "missing-key" if over is None else "bad-value", message)
        over = Node(*loop.place, scalar="items")
    if "jobs" in keys and "jobs" in stage:
        notes.error(stage.place("jobs"), "twice", "'jobs' stands here and in the loop; keep one of them")
    from_loop = keys.listed("jobs", "a list of jobs")
    jobs: Sequence[Node] = from_loop if from_loop is not None else stage.listed("jobs", "a list of jobs") or []
    if not jobs:
        notes.error(loop.place, "no-steps", "a loop has no jobs; list them under 'jobs'")
        return unreadable(loop)
    payload = keys.node_at("payload")
    if payload is not None:
        keys.mapping("payload")
    return built(
        stage.node,
        {
            **fields,
            "for_each": over,
            **keys.passed_on("max_items"),
            **({} if stop else {"tolerated_failure": built(loop, {"ratio": 1.0, "run_when_failed": "failed"})}),
            "steps": listed(loop, [_job(job, notes, payload) for job in jobs]),
        },
    )


def _with_key(keys: Keys, node: Node, notes: Notes, payload: Node | None) -> Node | None:
    """The payload with the job's idempotency key, which no other job of the file may have."""
    at = keys.node_at("idempotency_key")
    key = keys.text("idempotency_key")
    if at is None or key is None:
        return payload
    mark, job = f"key {key}\0", _job_name(node)
    other = next((taken.removeprefix(mark) for taken in notes.taken if taken.startswith(mark)), None)
    if other is not None and not key.startswith("@") and "{{" not in key:
        message = f"{job}: its idempotency key {key!r} is that of {other} too; give each job of a run a key of its own"
        notes.error(at.place, "same-key", message)
    notes.taken.add(mark + job)
    entries = {**(payload.entries or {}), "idempotency_key": at} if payload is not None else {"idempotency_key": at}
    return built(payload or node, entries)


def _job(node: Node, notes: Notes, payload: Node | None) -> Node:
    job: Node | None = node
    fields: dict[str, Any] = {}
    if node.entries is not None:
        keys = Keys(node, notes, "a job", _JOB)
        job = keys.node_at("job")
        payload = keys.node_at("payload") or payload
        if payload is not None and payload.entries is None:
            notes.error(payload.place, "bad-value", f"'payload' must be a mapping, not {given(payload)}")
            payload = None
        fields = dict(keys.passed_on("enabled"))
        payload = _with_key(keys, node, notes, payload)
        if job is None:
            notes.error(node.place, "missing-key", "a job needs 'job': its id")
            return unreadable(node)
    if not isinstance(job.scalar, str) or not job.scalar:
        notes.error(node.place, "bad-value", f"a job must be an id, not {given(job)}; put it into quotes")
        return unreadable(node)
    if job.scalar.startswith("pipeline."):
        name = Node(*job.place, scalar=job.scalar.removeprefix("pipeline."))
        return built(node, {"pipeline": name, **fields, **({"parameters": payload} if payload is not None else {})})
    if payload is None and not fields:
        return job
    return built(node, {"handler": job, **fields, **({"options": payload} if payload is not None else {})})
