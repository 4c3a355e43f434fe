"""The outputs of a run at its end: their fields, and the part of them that is kept."""

from collections.abc import Collection
from typing import cast

from flows.author import OutputField, OutputRecord, record_outputs
from flows.planning import Plan
from flows.state import Context
from flows.storage import Storage


def output_fields(plan: Plan, context: Context, before: Collection[str]) -> tuple[OutputField, ...]:
    """The outputs of the plan, and fields that steps have written without declaring them.

    `before` are the fields that the run started with.
    """
    if plan.writes_known or plan.pipeline.outputs is not None:
        return plan.outputs
    known = plan.root.access.reads | plan.root.access.writes | {*before}
    return (*plan.outputs, *(OutputField(name, name) for name in context.data if name not in known))


def keep_outputs(context: Context, fields: tuple[OutputField, ...]) -> tuple[OutputRecord, ...]:
    """The outputs for the run store; with a storage, large outputs are also written whole to files."""

    def keep_whole(name: str, content: bytes) -> str:
        storage: Storage = context.services["storage"]
        root = cast("str", context.services["artifacts_url"])
        uri = storage.join(root, context.index, "outputs", context.execution_id, f"{name}.json")
        return storage.write(uri, content)

    has_storage = "storage" in context.services and "artifacts_url" in context.services
    return record_outputs(context, fields, keep_whole=keep_whole if has_storage else None)
