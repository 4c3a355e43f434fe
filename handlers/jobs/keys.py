"""Idempotency keys of jobs: within a run, a key belongs to one job; on a machine, one job at a time holds it."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

from flows.author import Call
from flows.errors import FatalError
from flows.storage import private_folder

_held: dict[str, str] = {}
"""The job of this process that holds each key."""
_lock = threading.Lock()


class KeyCollision(FatalError):
    """Two jobs have the same idempotency key, so one could be mistaken for the other or overwrite its work."""


class JobKeys:
    """Which job holds which key. With a `folder`, jobs of other processes on this machine count too.

    The locks are the operating system's, so the locks of a killed process end with it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._owners: dict[tuple[str, str], str] = {}

    @contextlib.contextmanager
    def claim(self, key: str, call: Call) -> Iterator[None]:
        """Hold a key for the time of the block.

        Raises:
            KeyCollision: another job of this run has the key, or a job holds it now; the message names both jobs.
        """
        job = call.step_id
        described = f"{job} of run {call.run_id}"
        with _lock:
            owner = self._owners.setdefault((call.run_id, key), job)
            if owner != job:
                raise KeyCollision(
                    f"{job}: its idempotency key {key!r} is that of {owner} too; give each job of a run "
                    "a key of its own"
                )
            if key in _held:
                raise KeyCollision(_key_is_held(job, key, _held[key]))
            _held[key] = described
        try:
            with self._locked(job, key, described):
                yield
        finally:
            with _lock:
                del _held[key]

    @contextlib.contextmanager
    def _locked(self, job: str, key: str, described: str) -> Iterator[None]:
        if self._folder is None:
            yield
            return
        from filelock import FileLock, Timeout

        private_folder(self._folder)
        file = self._folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        holder = file.with_suffix(".json")
        try:
            with FileLock(file.with_suffix(".lock"), timeout=0):
                holder.write_text(json.dumps({"key": key, "job": described}), encoding="utf-8")
                yield
        except Timeout:
            try:
                by = str(json.loads(holder.read_text(encoding="utf-8"))["job"])
            except (OSError, ValueError, KeyError):  # the other process has not written the name of its job yet
                by = "a job of another process"
            raise KeyCollision(_key_is_held(job, key, by)) from None


def _key_is_held(job: str, key: str, by: str) -> str:
    return f"{job}: its idempotency key {key!r} is in use by {by}; run this job again when that one has ended"


def claim(key: str | None, call: Call) -> contextlib.AbstractContextManager[None]:
    """Hold a job's key, if it has one, in the run's table of keys."""
    if key is None:
        return contextlib.nullcontext()
    if not key.strip():
        raise FatalError(f"{call.step_id}: the idempotency key is empty, so all jobs would share it")
    keys: JobKeys = call.services["job_keys"] if "job_keys" in call.services else _alone  # noqa: SIM401  (no mapping)
    return keys.claim(key, call)


_alone = JobKeys()
