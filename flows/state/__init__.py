"""What a run holds: the context, copy-on-write views of it, the changes of its branches, and their merge."""

from flows.state.chunked import chunked
from flows.state.context import Context, EffectFingerprint, Identity, follow_path, read_path
from flows.state.deltas import Change, Delta
from flows.state.disk_sequences import DiskSequence, Spool, TemporaryRows, sortable
from flows.state.merge import DEFAULT_REDUCERS, merge_deltas, reducer, resolve_reducer
from flows.state.progress import Progress
from flows.state.services import Services
from flows.state.values import ExternalSequence, fingerprint, short_repr

__all__ = [
    "DEFAULT_REDUCERS",
    "Change",
    "Context",
    "Delta",
    "DiskSequence",
    "EffectFingerprint",
    "ExternalSequence",
    "Identity",
    "Progress",
    "Services",
    "Spool",
    "TemporaryRows",
    "chunked",
    "fingerprint",
    "follow_path",
    "merge_deltas",
    "read_path",
    "reducer",
    "resolve_reducer",
    "short_repr",
    "sortable",
]
