"""Variables that a worker lacks for its deployments are reported, and a deployment can set them."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from deployments.catalog import load_catalog
from deployments.server.child_processes import ChildProcess
from deployments.server.local import LocalServer
from deployments.server.worker_environment import Needed, lacking, needed_by
from deployments.settings import Settings

SERVER = "http://127.0.0.1:1/api"


def test_what_comes_from_our_own_folder_needs_nothing() -> None:
    settings = Settings()
    needed = needed_by(load_catalog(settings).loaded.values(), settings)
    assert (needed.folders, needed.modules) == ((), ())
    assert lacking(needed, settings, server=SERVER, pool_is_local=True) == ""


def test_the_folder_of_a_deployed_pipeline_and_the_modules_are_needed(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("name: own\nsteps: [extract_text]\n")
    settings = Settings(home=tmp_path, pipelines_dirs=(tmp_path, tmp_path / "empty"), handler_modules=("my_handlers",))
    needed = needed_by([load_catalog(settings).find("own")], settings)
    assert needed == Needed((tmp_path,), ("my_handlers",))
    assert needed.variables["BRAID_PIPELINES_DIRS"] == str(tmp_path)
    assert needed.variables["PYTHONPATH"].startswith(str(Path.cwd()))
    assert needed.missing_in(needed.variables) == []
    assert needed.missing_in({"BRAID_HANDLER_MODULES": "others, my_handlers"}) == [f"BRAID_PIPELINES_DIRS={tmp_path}"]
    assert "need this in the environment of their workers" in lacking(
        needed, settings, server=SERVER, pool_is_local=False
    )


def test_the_worker_of_a_running_braid_up_is_asked(tmp_path: Path) -> None:
    needed = Needed((tmp_path,), ("my_handlers",))
    settings = Settings(home=tmp_path)
    for given, expected in (({}, "the worker of `braid up` lacks BRAID_PIPELINES_DIRS="), (needed.variables, "")):
        with LocalServer(tmp_path / "server") as server:
            worker = subprocess.Popen(
                [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
                env={**os.environ, **given},
                stdout=subprocess.PIPE,
            )
            assert worker.stdout is not None
            worker.stdout.readline()
            server.state.programs["worker"] = ChildProcess(worker.pid, psutil.Process(worker.pid).create_time())
            server._write()
            said = lacking(needed, settings, server=server.url, pool_is_local=True)
            worker.kill()
            worker.communicate()
        assert said.startswith(expected) if expected else said == ""
