"""Stages of jobs: stages run one after another, the jobs of a stage are independent of each other.

The dialect's own defaults are written into the native form. `max_workers` is 1; if no stage sets it, it becomes a limit
of the whole pipeline, which a run may raise. `stop_on_failure` is true: a failed job stops the other jobs. If it is
false, the other jobs and the later stages still run, and then the run ends as failed. A job is a handler, or a pipeline
if it is written `pipeline.NAME`. A stage with a `loop` runs its jobs in order for each item. `@payload.NAME` makes NAME
a required parameter of the pipeline.
"""

import re
from collections.abc import Sequence
from typing import Any

from flows.loaders.foreign import KeyReader, Translation, built, identity, listed, pipeline_name, unreadable
from flows.loaders.yaml_nodes import YamlNode

_PAYLOAD_NAME = re.compile(r"@payload\.([A-Za-z_]\w*)")
TOP = ("name", "pipeline_id", "description", "version", "stages", "stop_on_failure")
STAGE = ("name", "jobs", "stop_on_failure", "max_workers", "loop", "enabled")
LOOP = ("over", "payload", "jobs", "max_items")
JOB = ("job", "payload", "enabled", "idempotency_key")


def signs(node: YamlNode) -> int:
    """How many signs of this dialect one mapping has."""
    return sum(2 for key in node.entries or {} if key in ("stages", "jobs")) + sum(
        1 for key in node.entries or {} if key in ("stop_on_failure", "pipeline_id", "loop")
    )


def translate(root: YamlNode, translation: Translation, name: str) -> YamlNode:
    """The native form of a document."""
    keys = KeyReader(root, translation, "a pipeline of stages", TOP)
    stop = keys.flag("stop_on_failure", True)
    stages = keys.items("stages", "a list of stages") or []
    if not stages and "stages" in keys:
        translation.error(keys.position_of("stages"), "no-steps", "a pipeline has no stages; list them under 'stages'")
    unread = [unreadable(root)] if "stages" in keys else []
    limited = any("max_workers" in (stage.entries or {}) for stage in stages)
    steps = [_stage_step(stage, translation, stop, limited) for stage in stages]
    return built(
        root,
        {
            **pipeline_name(keys, name, key="name" if "name" in keys else "pipeline_id"),
            **keys.unchanged("description", "version"),
            **({} if limited else {"max_workers": 1}),
            **_parameters(root),
            "steps": listed(keys.node_at("stages") or root, steps or unread),
        },
    )


def _parameters(root: YamlNode) -> dict[str, YamlNode]:
    """The parameters that the references to the payload need."""
    names = dict.fromkeys(found[1] for text in root.texts() if (found := _PAYLOAD_NAME.match(text)))
    if not names:
        return {}
    return {"parameters": built(root, {name: built(root, {"required": True}) for name in names})}


def _stage_step(node: YamlNode, translation: Translation, stop: bool, limited: bool) -> YamlNode:
    if node.entries is None:
        translation.error(
            node.position, "bad-step", f"a stage must be a mapping with 'name' and 'jobs', not {node.description()}"
        )
        return unreadable(node)
    keys = KeyReader(node, translation, "a stage", STAGE)
    name = keys.text("name")
    if name is None and "name" not in keys:
        translation.error(node.position, "missing-key", "a stage needs 'name'")
    stop = keys.flag("stop_on_failure", stop)
    fields: dict[str, Any] = {**identity(name, translation), **keys.unchanged("enabled")}
    if limited:
        fields["max_workers"] = keys.node_at("max_workers") or 1
    loop = keys.node_at("loop")
    if loop is not None:
        return _loop_step(loop, keys, translation, fields, stop)
    jobs = keys.items("jobs", "a list of jobs")
    if not jobs:
        translation.error(
            keys.position_of("jobs"), "empty-group", f"stage {name or '?'} has no jobs; list them under 'jobs'"
        )
        return unreadable(node)
    return built(
        node,
        {
            **fields,
            "policy": "fail_fast" if stop else "keep_going",
            **_reducers(jobs),
            "parallel": listed(keys.node_at("jobs") or node, [_job_step(job, translation, None) for job in jobs]),
        },
    )


def _reducers(jobs: Sequence[YamlNode]) -> dict[str, Any]:
    """Reducers for jobs that appear twice in a stage: the field of such a job then holds both results by name."""
    names = [_job_name(job) for job in jobs]
    twice = sorted({name for name in names if name and names.count(name) > 1 and not name.startswith("pipeline.")})
    return {"reducers": dict.fromkeys(twice, "namespaced")} if twice else {}


def _job_name(node: YamlNode) -> str:
    at = (node.entries or {}).get("job", node)
    return at.scalar if isinstance(at.scalar, str) else ""


def _loop_step(
    loop: YamlNode, stage: KeyReader, translation: Translation, fields: dict[str, Any], stop: bool
) -> YamlNode:
    if loop.entries is None:
        stage.report("loop", "a mapping with 'over' and 'jobs'")
        return unreadable(loop)
    keys = KeyReader(loop, translation, "a loop", LOOP)
    over = keys.node_at("over")
    if over is None or not isinstance(over.scalar, str):
        message = "a loop needs 'over': a field or a reference such as '@run.peek.items'"
        translation.error(keys.position_of("over"), "missing-key" if over is None else "bad-value", message)
        over = YamlNode(*loop.position, scalar="items")
    if "jobs" in keys and "jobs" in stage:
        translation.error(stage.position_of("jobs"), "twice", "'jobs' is set here and in the loop; keep one of them")
    from_loop = keys.items("jobs", "a list of jobs")
    jobs: Sequence[YamlNode] = from_loop if from_loop is not None else stage.items("jobs", "a list of jobs") or []
    if not jobs:
        translation.error(loop.position, "no-steps", "a loop has no jobs; list them under 'jobs'")
        return unreadable(loop)
    payload = keys.node_at("payload")
    if payload is not None:
        keys.mapping("payload")
    return built(
        stage.node,
        {
            **fields,
            "for_each": over,
            **keys.unchanged("max_items"),
            **({} if stop else {"tolerated_failure": built(loop, {"ratio": 1.0, "run_when_failed": "failed"})}),
            "steps": listed(loop, [_job_step(job, translation, payload) for job in jobs]),
        },
    )


def _with_key(keys: KeyReader, node: YamlNode, translation: Translation, payload: YamlNode | None) -> YamlNode | None:
    """The payload with the job's idempotency key, which must be unique in the file."""
    at = keys.node_at("idempotency_key")
    key = keys.text("idempotency_key")
    if at is None or key is None:
        return payload
    mark, job = f"key {key}\0", _job_name(node)
    other = next((taken.removeprefix(mark) for taken in translation.taken if taken.startswith(mark)), None)
    if other is not None and not key.startswith("@") and "{{" not in key:
        message = f"{job}: its idempotency key {key!r} is that of {other} too; give each job of a run a key of its own"
        translation.error(at.position, "same-key", message)
    translation.taken.add(mark + job)
    entries = {**(payload.entries or {}), "idempotency_key": at} if payload is not None else {"idempotency_key": at}
    return built(payload or node, entries)


def _job_step(node: YamlNode, translation: Translation, payload: YamlNode | None) -> YamlNode:
    job: YamlNode | None = node
    fields: dict[str, Any] = {}
    if node.entries is not None:
        keys = KeyReader(node, translation, "a job", JOB)
        job = keys.node_at("job")
        payload = keys.node_at("payload") or payload
        if payload is not None and payload.entries is None:
            translation.error(
                payload.position, "bad-value", f"'payload' must be a mapping, not {payload.description()}"
            )
            payload = None
        fields = dict(keys.unchanged("enabled"))
        payload = _with_key(keys, node, translation, payload)
        if job is None:
            translation.error(node.position, "missing-key", "a job needs 'job': its id")
            return unreadable(node)
    if not isinstance(job.scalar, str) or not job.scalar:
        translation.error(
            node.position, "bad-value", f"a job must be an id, not {job.description()}; put it into quotes"
        )
        return unreadable(node)
    if job.scalar.startswith("pipeline."):
        return built(node, {"pipeline": job, **fields, **({"parameters": payload} if payload is not None else {})})
    if payload is None and not fields:
        return job
    return built(node, {"handler": job, **fields, **({"options": payload} if payload is not None else {})})
