"""What a run holds: the context, copy-on-write views of it, what branches changed, and the merge."""

from flows.state.context import Context, EffectFingerprint, Identity, follow_path, read_path
from flows.state.deltas import Change, Delta
from flows.state.merge import DEFAULT_REDUCERS, merge_deltas, reducer, resolve_reducer
from flows.state.progress import Progress
from flows.state.services import Services
from flows.state.spilled import Spilled, Spool, TemporaryRows, sortable
from flows.state.values import KeptElsewhere, fingerprint, shown

__all__ = [
    "DEFAULT_REDUCERS",
    "Change",
    "Context",
    "Delta",
    "EffectFingerprint",
    "Identity",
    "KeptElsewhere",
    "Progress",
    "Services",
    "Spilled",
    "Spool",
    "TemporaryRows",
    "fingerprint",
    "follow_path",
    "merge_deltas",
    "read_path",
    "reducer",
    "resolve_reducer",
    "shown",
    "sortable",
]
