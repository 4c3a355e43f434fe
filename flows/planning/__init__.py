"""From the model to a plan: names resolved, limits decided, declarations checked, steps numbered."""

from flows.planning.access import open_reads
from flows.planning.branch_views import BranchViews
from flows.planning.dependencies import all_before, waits_of_all
from flows.planning.draft import Overrides, PositionOf
from flows.planning.fingerprints import StepFingerprint, effect_fingerprints, step_fingerprints
from flows.planning.plan import Chain, Choice, FanIn, Group, Leaf, Limit, Loop, Node, Plan, Sub, node_children
from flows.planning.planner import make_plan

__all__ = [
    "BranchViews",
    "Chain",
    "Choice",
    "FanIn",
    "Group",
    "Leaf",
    "Limit",
    "Loop",
    "Node",
    "Overrides",
    "Plan",
    "PositionOf",
    "StepFingerprint",
    "Sub",
    "all_before",
    "effect_fingerprints",
    "make_plan",
    "node_children",
    "open_reads",
    "step_fingerprints",
    "waits_of_all",
]
