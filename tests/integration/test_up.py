"""Starting and stopping `braid up` as a separate process, with everything that it starts."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deployments.server.child_processes import MARK, ChildProcess
from deployments.server.local import LocalServer, running_url
from tests.support.operated import wait_for
from tests.support.paths import ROOT


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").status_code == 200
    except httpx.TransportError:
        return False


def up(home: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "BRAID_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_API_URL", None)
    with (home / "up.log").open("wb") as log:
        command = [sys.executable, "-m", "deployments", "up", "--runs", "1"]
        return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_up_deploys_everything_stays_up_refuses_a_second_one_and_stops_all_it_started(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    # What one that was killed left behind: its process is gone, one that it started is not, and neither is a process of
    # a flow run, which nobody has recorded.
    sleeping = [sys.executable, "-c", "import time; time.sleep(600)"]
    orphan = subprocess.Popen(sleeping)
    run_of_it = subprocess.Popen(sleeping, env={**os.environ, MARK: str(folder)}, start_new_session=True)
    left = {"pid": orphan.pid, "started": psutil.Process(orphan.pid).create_time()}
    stale = {
        "url": "http://127.0.0.1:1/api",
        "owner": {"pid": 2**22 + 1, "started": 0.0},
        "programs": {"worker": left},
    }
    (folder / "up.json").write_text(json.dumps(stale))
    assert running_url(folder) is None

    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "lamp.md").write_text("# Lamp\n\nThe lamp blinks twice when the battery is low.\n")
    running = up(tmp_path)

    def log() -> str:
        return (tmp_path / "up.log").read_text()

    try:
        wait_for(lambda: "Prefect is at" in log() or running.poll(), log)
        assert running.poll() is None, log()
        assert (orphan.wait(timeout=10), run_of_it.wait(timeout=10)) == (-signal.SIGTERM, -signal.SIGTERM)
        url: Any = running_url(folder)
        names = {one["name"] for one in httpx.post(f"{url}/deployments/filter", json={}).json()}
        assert names >= {"ingest", "search", "ask"}
        assert httpx.get(url.removesuffix("/api")).status_code == 200
        for name in ("server", "worker"):
            psutil.Process(json.loads((folder / "up.json").read_text())["programs"][name]["pid"]).kill()
        wait_for(lambda: ("server runs again" in log() and "worker runs again" in log()) or None, log)
        found = re.findall(r"Braid is at (\S+)", log())
        wait_for(lambda: answers(found[0]) or None, log)
        question = {"source": str(documents), "parameters": {"pattern": "*.md"}}
        started = httpx.post(f"{found[0]}/api/indexes/lamps/ingest", json=question, timeout=60)
        assert started.status_code == 202, started.text
        with httpx.stream(
            "GET", f"{found[0]}/api/flow-runs/{started.json()['flow_run_id']}/events", timeout=200
        ) as run:
            last = [line for line in run.iter_lines() if line.startswith("data: ")][-1]
        assert json.loads(last.removeprefix("data: "))["state"] == "Completed"
        asked = {"question": "When does the lamp blink?"}
        hits = httpx.post(f"{found[0]}/api/indexes/lamps/search", json=asked, timeout=60).json()["hits"]
        assert "blinks twice" in hits[0]["text"]
        assert httpx.put(f"{found[0]}/api/indexes/lamps/uploads/b.txt", content=b"A bulb.").json()["size"] == 7
        page = httpx.get(f"{found[0]}/indexes/lamps").text
        assert f"{url.removesuffix('/api')}/runs/flow-run/{started.json()['flow_run_id']}" in page
        family = psutil.Process(running.pid).children(recursive=True)
        second = subprocess.run(
            [sys.executable, "-m", "deployments", "up"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "BRAID_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        )
        assert second.returncode == 2
        assert f"the server runs already: {url.removesuffix('/api')}" in second.stderr
    finally:
        running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 0, log()
    assert len(family) >= 3
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert running_url(folder) is None
    assert (folder / "prefect.db").exists()


def test_a_process_that_got_the_number_of_another_is_not_taken_for_it() -> None:
    us = psutil.Process()
    assert ChildProcess(us.pid, us.create_time()).process is not None
    assert ChildProcess(us.pid, us.create_time() - 60).process is None


def test_what_a_killed_writer_left_of_the_state_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"url": "http')
    with LocalServer(tmp_path, port=0) as server:
        assert running_url(tmp_path) == server.url
    assert not (tmp_path / "up.json").exists()
