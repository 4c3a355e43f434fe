"""The run store: a record of each run and step with time and cost, and the finished calls that a resumed run reuses."""

from flows.run_store.database import NewerRunStore, UnusableRunStore, open_database
from flows.run_store.documents import DocumentRecord
from flows.run_store.fit import measure_fit
from flows.run_store.recorder import SECRET_LEFT_OUT, Recorder, RunStoreFailed
from flows.run_store.recording import record_run
from flows.run_store.records import RunningBranch, RunRecord
from flows.run_store.shared_rates import DatabaseRates
from flows.run_store.signing import KEY_FILE, SigningKey, UnsignedResult
from flows.run_store.store import AmbiguousRun, RunStore
from flows.run_store.stored_calls import StoredCall, pack

__all__ = [
    "KEY_FILE",
    "SECRET_LEFT_OUT",
    "AmbiguousRun",
    "DatabaseRates",
    "DocumentRecord",
    "NewerRunStore",
    "Recorder",
    "RunRecord",
    "RunStore",
    "RunStoreFailed",
    "RunningBranch",
    "SigningKey",
    "StoredCall",
    "UnsignedResult",
    "UnusableRunStore",
    "measure_fit",
    "open_database",
    "pack",
    "record_run",
]
