"""From the model to a plan: names resolved, limits settled, declarations checked, steps numbered."""

from flows.planning.access import all_before, open_reads
from flows.planning.draft import Overrides, Places
from flows.planning.fingerprints import StepFingerprint, effect_fingerprints, step_fingerprints
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Limit, Loop, Node, Plan, Sub, node_children
from flows.planning.planner import make_plan

__all__ = [
    "Chain",
    "Choice",
    "FanIn",
    "Group",
    "Leaf",
    "Limit",
    "Loop",
    "Node",
    "Overrides",
    "Places",
    "Plan",
    "StepFingerprint",
    "Sub",
    "all_before",
    "effect_fingerprints",
    "make_plan",
    "node_children",
    "open_reads",
    "step_fingerprints",
]
