"""A plan as JSON."""

from dataclasses import asdict
from typing import Any, assert_never

from deployments.screen.plan_tree import moved_steps, visible_children, visible_roots
from flows.model import hide_secrets_in
from flows.planning import Chain, Choice, FanIn, Group, Leaf, Limit, Loop, Node, Plan, Sub


def plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "pipeline": plan.pipeline.name,
        "description": plan.pipeline.description,
        "mode": plan.pipeline.mode,
        "fingerprint": plan.fingerprint,
        "limit": _limit_json(plan.limit),
        "task_runner": asdict(plan.task_runner),
        "resources": {
            name: one.resource.model_dump() | {"origins": dict(one.origins), "shared_as": sorted(one.shared)}
            for name, one in plan.all_resources.items()
        },
        "retry_budget": plan.retry_budget.model_dump() if plan.retry_budget is not None else None,
        "timeout_s": plan.pipeline.timeout_s,
        "steps": [_node_json(node) for node in visible_roots(plan)],
        "derived": moved_steps(plan),
        "warnings": [str(problem) for problem in plan.warnings],
    }


def _limit_json(limit: Limit) -> dict[str, Any]:
    return {"value": limit.value, "origin": limit.origin}


def _node_json(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = {
        "path": node.path,
        "id": node.id,
        "label": node.label,
        "timeout_s": node.timeout_s,
        "when": node.when,
        "enabled": node.enabled,
    }
    match node:
        case Leaf():
            found |= {
                "type": "handler",
                "handler": node.spec.name,
                "options": hide_secrets_in(node.options),
                "reads": dict(node.reads),
                "writes": dict(node.writes),
                "effects": sorted(node.spec.effects or ()),
                "retry": node.retry.model_dump(),
                "uses": list(node.uses),
            }
        case Group():
            found |= {
                "type": "parallel",
                "max_concurrency": _limit_json(node.limit),
                "policy": node.policy.name,
                "derived": node.derived,
                "after": [sorted(waits) for waits in node.after],
            }
        case Loop():
            found |= {
                "type": "for_each",
                "over": node.over,
                "as": node.item_name,
                "batch_size": node.batch_size,
                "max_concurrency": _limit_json(node.limit),
                "max_items": node.max_items,
            }
        case FanIn():
            found |= {
                "type": "merge_results",
                "from": node.group,
                "inputs": list(node.inputs),
                "strategy": node.merge.strategy,
                "output": node.merge.output,
            }
        case Sub():
            found |= {"type": "pipeline"}
        case Chain():
            found |= {"type": "sequential"}
        case Choice():
            cases = [
                {"when": when, "steps": [_node_json(child) for child in visible_children(case)]}
                for when, case in node.cases
            ]
            return found | {"type": "switch", "cases": cases}
        case _:
            assert_never(node)
    children = [_node_json(child) for child in visible_children(node)]
    return found | ({"steps": children} if children else {})
