"""What all tests share."""

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.support.servers", "tests.support.index_stores"]

# Timings say nothing on a shared machine; what a property says does not depend on them.
settings.register_profile("braid", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("braid")

_STATUS = pytest.StashKey[int]()


@pytest.fixture(scope="module", autouse=True)
def _own_garbage() -> Iterator[None]:
    """What a module's tests leave to the garbage collector is found at their end, and told in pytest's summary.

    Such is a connection that a client library gave up at an unlucky moment: as an error it would strike whichever test
    runs when it is collected.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("default", ResourceWarning)
        gc.collect()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without taking the interpreter apart.

    Some tests leave threads behind on purpose, calls that were given up. While such a thread lives, DuckDB's binding
    takes its own objects for leaks and writes a page about them after pytest's summary.
    """
    if config.stash.get(_STATUS, None) not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return  # pytest has more to say
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()  # servers and worker processes end here
    sys.stdout.flush()
    os._exit(config.stash[_STATUS])
