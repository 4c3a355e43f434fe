"""Where a function runs: on the loop, in a thread, in a process of its own or on a cluster."""

from flows.calling.blocking import loop_is_running, run_to_end
from flows.calling.clusters import Cluster, cluster_workers, open_cluster
from flows.calling.dispatch import Inputs, Work, call_function
from flows.calling.leaf import CallKey, CallProgress, CallResult, LeafCall, LeafResult, RunLeaf
from flows.calling.sandbox import Sandbox
from flows.calling.threads import call_in_thread
from flows.calling.times import BOOKKEEPING, RETRY, RUN_STORE, TURN, CallTimes, resource_wait

__all__ = [
    "BOOKKEEPING",
    "RETRY",
    "RUN_STORE",
    "TURN",
    "CallKey",
    "CallProgress",
    "CallResult",
    "CallTimes",
    "Cluster",
    "Inputs",
    "LeafCall",
    "LeafResult",
    "RunLeaf",
    "Sandbox",
    "Work",
    "call_function",
    "call_in_thread",
    "cluster_workers",
    "loop_is_running",
    "open_cluster",
    "resource_wait",
    "run_to_end",
]
