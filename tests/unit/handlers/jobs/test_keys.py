"""Idempotency keys: one job of a run has a key, and one job at a time works on it, in this process and in others."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from flows.author import Call, Registry
from flows.errors import FatalError
from flows.state import Identity, Services
from handlers.jobs import JobKeys, job
from handlers.jobs.keys import KeyCollision
from tests.support.paths import ROOT


def call_of(keys: JobKeys, step: str, run: str = "run-1") -> Call:
    return Call(step_id=step, identity=Identity("p", run, services=Services({"job_keys": lambda: keys})))


def test_two_jobs_of_a_run_with_one_key_are_refused_with_both_names(tmp_path: Path) -> None:
    keys = JobKeys(tmp_path)
    with keys.claim("gmail:1", call_of(keys, "first")):
        pass
    with keys.claim("gmail:1", call_of(keys, "first")):  # tried again
        pass
    with (
        pytest.raises(KeyCollision, match="second: its idempotency key 'gmail:1' is that of first too"),
        keys.claim("gmail:1", call_of(keys, "second")),
    ):
        pass


def test_another_run_waits_for_nobody_and_is_refused_while_the_key_is_held(tmp_path: Path) -> None:
    mine, theirs = JobKeys(tmp_path), JobKeys(tmp_path)
    other = call_of(theirs, "nightly", "run-2")
    with (
        mine.claim("gmail:1", call_of(mine, "first")),
        pytest.raises(KeyCollision, match="nightly: .*'gmail:1' is in use by first of run run-1"),
        theirs.claim("gmail:1", other),
    ):
        pass
    with theirs.claim("gmail:1", other):
        pass


def test_a_process_of_its_own_counts_and_its_end_frees_the_key(tmp_path: Path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from flows.author import Call
        from flows.state import Identity
        from handlers.jobs import JobKeys
        with JobKeys(Path({str(tmp_path)!r})).claim("k", Call(step_id="theirs", identity=Identity("p", "run-9"))):
            print("held", flush=True)
            sys.stdin.read()
    """
    keys = JobKeys(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with (
            pytest.raises(KeyCollision, match="mine: .* in use by theirs of run run-9"),
            keys.claim("k", call_of(keys, "mine")),
        ):
            pass
        process.kill()
        process.wait()
    with keys.claim("k", call_of(keys, "mine")):
        pass


def test_the_key_of_a_job_is_made_of_its_arguments(tmp_path: Path) -> None:
    keys, registry, done = JobKeys(tmp_path), Registry(), list[Any]()

    @job(key="gmail:{account}", registry=registry)
    def ingest(account: str, *, since: str = "", call: Call) -> dict[str, str]:
        done.append((account, since, call.step_id))
        return {"account": account}

    spec = registry.get("ingest")
    assert spec.writes == ("ingest",)
    assert set(spec.options.model_fields) == {"account", "since", "idempotency_key"}
    step: dict[str, Any] = {"idempotency_key": None, "since": ""}
    assert spec.function(account="a", call=call_of(keys, "one"), **step) == {"account": "a"}
    spec.function(account="b", call=call_of(keys, "two"), **step)
    with pytest.raises(KeyCollision, match="three: .*'gmail:a' is that of one too"):
        spec.function(account="a", call=call_of(keys, "three"), **step)
    with pytest.raises(FatalError, match="needs 'account', which is empty"):
        spec.function(account="", call=call_of(keys, "four"), **step)
    assert done == [("a", "", "one"), ("b", "", "two")]
    assert ingest("c", call=Call()) == {"account": "c"}  # still a plain function


def test_a_key_can_only_name_arguments() -> None:
    with pytest.raises(TypeError, match="its key names 'acount', which is not an argument of it"):

        @job(key="{acount}", registry=Registry())
        def ingest(account: str) -> None: ...
