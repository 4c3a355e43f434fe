"""The run store: which run did what, step by step, with time and cost; and what another run can go on from."""

from flows.run_store.database import NewerRunStore, migrate, open_database
from flows.run_store.documents import DocumentRecord
from flows.run_store.fit import ChangedPipeline, Fit, measure_fit
from flows.run_store.recorder import Recorder, RunStoreFailed
from flows.run_store.recording import record_run
from flows.run_store.records import RunningBranch, RunRecord
from flows.run_store.shared_rates import DatabaseRates
from flows.run_store.store import KeptCall, RunStore, StoredCall, pack

__all__ = [
    "ChangedPipeline",
    "DatabaseRates",
    "DocumentRecord",
    "Fit",
    "KeptCall",
    "NewerRunStore",
    "Recorder",
    "RunRecord",
    "RunStore",
    "RunStoreFailed",
    "RunningBranch",
    "StoredCall",
    "measure_fit",
    "migrate",
    "open_database",
    "pack",
    "record_run",
]
