"""Shared by all tests: marks, order, one home per process, and the detection of leaked resources."""

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator

import pytest

from flows.model import secrecy
from tests.support.paths import TESTS
from tests.support.profiles import load_profiles

os.environ.setdefault("BRAID_OCR_ENGINE", "none")  # no test depends on what is installed, unless it says so

pytest_plugins = ["tests.support.servers", "tests.support.index_stores", "tests.support.side_by_side"]
load_profiles()

FOLDERS = ("unit", "contracts", "integration", "acceptance")
"""In the order in which they run: unit tests first, while no server or client of Prefect runs threads in the process."""
SERVERS = {"postgres_server", "prefect_server", "operated", "s3_server", "redis_url", "mongo_url", "mariadb_url"}
"""Fixtures that start a server, which is a process of its own."""
_HOME = pytest.StashKey[str]()
_STATUS = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Prefect keeps its files in a folder of this process, so that nothing of the user's is read or changed."""
    # Started in the background of a script, pytest would pass on that Ctrl-C and the end of a terminal are ignored.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.stash[_HOME] = os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="braid-tests-prefect-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        item.add_marker(folder)
        if _starts_server(item):
            item.add_marker("server")
        if folder in ("unit", "contracts") and not {"server", "slow"} & {mark.name for mark in item.iter_markers()}:
            item.add_marker("quick")


def _starts_server(item: pytest.Item) -> bool:
    """Whether a test needs a server, directly or as one of several stores."""
    if not isinstance(item, pytest.Function):
        return False
    params = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return bool(SERVERS & set(item.fixturenames)) or any(
        isinstance(param, str) and param.startswith("postgres") for param in params
    )


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of a test, so that messages of other tests do not hide them."""
    monkeypatch.setattr(secrecy, "_hidden", secrecy.HiddenValues())


@pytest.fixture(scope="module", autouse=True)
def _own_garbage() -> Iterator[None]:
    """Report, in pytest's summary, resources that a module's tests leave to the garbage collector.

    An example is a connection that a client library dropped at an unlucky moment: as an error, it would fail
    whichever test runs when it is collected.
    """
    modules = len(sys.modules)
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("default", ResourceWarning)
        gc.collect()
    if len(sys.modules) > modules:
        # Imported modules stay. To look through all of them again after each module of tests takes half a second.
        gc.freeze()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without the shutdown of the interpreter.

    Some tests leave threads of abandoned calls behind on purpose. While such a thread lives, DuckDB's binding reports
    its own objects as leaks after pytest's summary.
    """
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)
    if config.stash.get(_STATUS, None) not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return  # pytest prints more after this
    sys.stdout.flush()
    sys.stderr.flush()
    atexit._run_exitfuncs()  # servers and worker processes end here
    sys.stdout.flush()
    os._exit(config.stash[_STATUS])
