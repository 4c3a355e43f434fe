"""Tests in several processes (pytest-xdist): how many there are, and which tests share one."""

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

# The tests of a file stay together, in one process: they share fixtures. These files also share a Prefect server, which takes
# ten seconds of a core to start.
TOGETHER = {
    "a Prefect server with a worker": (
        "integration/test_operating.py",
        "integration/test_browser.py",
        "integration/test_zombie_automation.py",
    ),
    "a Prefect server": (
        "integration/test_limits.py",
        "integration/test_shards.py",
        "integration/test_zombies.py",
        "integration/test_translator.py",
        "integration/test_truth_table_prefect.py",
        "integration/test_process_isolation.py",
        "integration/test_resume_prefect.py",
        "acceptance/test_main_job.py",
    ),
}
_GROUPS = {f"tests/{file}": group for group, files in TOGETHER.items() for file in files}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """How many processes `-n auto` means: two more than cores, since half of the time tests wait; none for single files.

    Quick tests hardly wait: as many as there are cores.
    """
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    if all(Path(argument.split("::")[0]).is_file() for argument in config.args):
        return 0
    return (os.cpu_count() or 1) + (0 if config.getoption("markexpr") == "quick" else 2)


class _ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return _GROUPS.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    return _ByFile(config, log)  # pyright: ignore[reportArgumentType]  (the hook's type for it is not exported)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first among those that wait, so that no process is left alone with one at the end."""
    if not hasattr(config, "workerinput"):
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def turn(item: pytest.Item) -> int:
        if item.get_closest_marker("unit") or item.get_closest_marker("contracts"):
            return 0
        return 1 if item.nodeid.split("::")[0] in _GROUPS else 2 if item.path in slow else 3

    items.sort(key=turn)
