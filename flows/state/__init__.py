"""The state of a run: the context, copy-on-write views of it, the changes of its branches, and their merge."""

from flows.state.chunked import chunked
from flows.state.context import Context, EffectFingerprint, Identity, follow_path, read_path
from flows.state.deltas import Change, Delta
from flows.state.disk_sequences import DiskSequence, Spool, TemporaryRows, sortable
from flows.state.equality import fingerprint
from flows.state.merge import DEFAULT_REDUCERS, merge_deltas, reducer, resolve_reducer
from flows.state.progress import Progress
from flows.state.services import Services
from flows.state.values import IMMUTABLE, ExternalSequence, Owned, hand_out, short_repr

__all__ = [
    "DEFAULT_REDUCERS",
    "IMMUTABLE",
    "Change",
    "Context",
    "Delta",
    "DiskSequence",
    "EffectFingerprint",
    "ExternalSequence",
    "Identity",
    "Owned",
    "Progress",
    "Services",
    "Spool",
    "TemporaryRows",
    "chunked",
    "fingerprint",
    "follow_path",
    "hand_out",
    "merge_deltas",
    "read_path",
    "reducer",
    "resolve_reducer",
    "short_repr",
    "sortable",
]
