"""The Prefect server is killed in the middle of a run and restarted: the run continues, and nothing is lost."""

import pytest

from bench.server_loss import CALLS, measure


@pytest.mark.slow
def test_a_run_outlives_the_loss_of_its_server() -> None:
    found = measure(away_s=1.0, work_s=0.3)
    assert found["lost"] == 0
    assert (found["first"]["status"], found["resumed"], found["twice"]) == ("succeeded", None, [])
    assert found["calls_finished"] == found["kept"] == CALLS
    assert found["states"] == ["Completed"]
