"""A run that is killed with SIGKILL at any moment can be resumed: nothing is lost, and kept calls are not repeated."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.killing import CALLS_OF_A_RUN
from tests.support.paths import ROOT
from tests.support.profiles import is_thorough


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def reports(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server: str
) -> list[dict[str, Any]]:
    """The results of kills before and after every write of a run; under the moderate profile, of one of the two in
    turn.
    """
    url = postgres_server if request.param == "postgresql" else f"sqlite:///{tmp_path_factory.mktemp('killed')}/runs.db"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.killing", url, "every" if is_thorough() else "alternate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.slow
def test_every_point_was_a_kill_and_there_were_enough_of_them(reports: list[dict[str, Any]]) -> None:
    killed = [report for report in reports if report["killed"]]
    assert len(killed) >= (30 if is_thorough() else 15)  # a call is one write, or shares one with others
    # How many writes a run takes depends on how many events fall into one; the last ones are beyond its end.
    assert not reports[-1]["killed"]
    assert {report["before"] for report in killed} == {True, False}


def test_a_resumed_run_ends_as_an_undisturbed_one(reports: list[dict[str, Any]]) -> None:
    (undisturbed,) = {report["hash"] for report in reports if not report["killed"]}
    assert {(report["status"], report["hash"]) for report in reports} == {("succeeded", undisturbed)}
    assert len({report["outcomes"] for report in reports}) == 1


def test_exactly_the_calls_without_kept_results_run_again(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        assert report["reused"] == report["kept"], report
        assert report["again"] == CALLS_OF_A_RUN - report["kept"], report
        assert report["calls"] == CALLS_OF_A_RUN, report
        # Only calls that had not been kept are repeated: at most the calls that ran in parallel.
        assert len(report["twice"]) <= 4, report


def test_the_cost_of_the_kept_results_of_a_killed_run_is_known(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        assert report["doubled"] <= report["paid"] <= report["doubled"] + len(report["twice"]), report
    assert max(report["paid"] for report in reports if report["killed"]) == 10
