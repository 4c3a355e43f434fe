"""One record in PostgreSQL, S3 and SQLite, all or nothing: when the third fails, the first two end up clean."""

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.s3 import S3Server
from tests.support.three_stores import Stores, arguments, run

NOWHERE = {"postgres": False, "s3": False, "sqlite": False}
EVERYWHERE = {"postgres": True, "s3": True, "sqlite": True}


@pytest.fixture
def stores(tmp_path: Path, postgres_url: str, s3_server: S3Server) -> Stores:
    made = Stores(
        str(tmp_path),
        postgres_url,
        f"s3://{s3_server.bucket}/{tmp_path.name}",
        s3_server.endpoint_url,
        s3_server.key,
        s3_server.secret,
    )
    assert made.found() == NOWHERE
    return made


def test_the_first_two_stores_end_up_clean_when_the_third_fails(stores: Stores) -> None:
    result = run(stores, "failed")
    assert result.status == "failed"
    assert stores.calls() == ["postgres", "s3", "sqlite", "undo-s3", "undo-postgres"]
    assert stores.found() == NOWHERE
    Path(stores.folder, "mended").touch()
    assert run(stores, "mended", resume=True).status == "succeeded"
    assert stores.found() == EVERYWHERE


@pytest.mark.parametrize("name", ["s3", "postgres"])
@pytest.mark.parametrize("mended", [False, True], ids=["broken", "mended"])
@pytest.mark.slow
def test_a_process_that_dies_while_undoing_is_finished_by_the_resumed_run(
    stores: Stores, name: str, mended: bool
) -> None:
    dying = subprocess.run(arguments(replace(stores, kill=name)), cwd=ROOT, timeout=120)
    assert dying.returncode == -signal.SIGKILL
    assert stores.found() == {"s3": {"postgres": True, "s3": False, "sqlite": False}, "postgres": NOWHERE}[name]
    if mended:
        Path(stores.folder, "mended").touch()
    result = run(stores, "resumed", resume=True)
    assert (result.status, stores.found()) == (("succeeded", EVERYWHERE) if mended else ("failed", NOWHERE))
