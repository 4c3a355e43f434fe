"""Every example validates and runs from its folder, with the commands of its README and its own files."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import EXAMPLES, ROOT

FOLDERS = [*(f"dialects/{name}" for name in ("hpd", "chains", "data", "stages")), "templates"]
EXIT_ON_ERROR = 'set -e\nbraid() { "$PYTHON" -m deployments "$@"; }\npython() { "$PYTHON" "$@"; }\n'


def commands(folder: Path) -> str:
    (block,) = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    return block


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_the_examples_of_a_folder_validate_and_run(name: str, tmp_path: Path) -> None:
    copied = tmp_path / "examples"
    shutil.copytree(EXAMPLES / name, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "documents").symlink_to(EXAMPLES / "documents")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("BRAID_")}
    variables |= {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "BRAID_HOME": str(tmp_path / "home"),
        "BRAID_EMBEDDING_MODEL": "hashing",
        "COLUMNS": "200",
    }
    script, output = EXIT_ON_ERROR + commands(copied / name), tmp_path / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            ["bash", "-xc", script],
            cwd=copied / name,
            env=variables,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            process.wait(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the server of the made-up data
    assert process.returncode == 0, output.read_text()[-4000:]


@pytest.mark.parametrize("name", FOLDERS)
def test_every_example_is_run_by_a_command(name: str) -> None:
    block, folder = commands(EXAMPLES / name), EXAMPLES / name
    files = [file for file in folder.iterdir() if file.suffix in (".yaml", ".json")]
    assert len(files) >= 4
    missing = [
        file.name for file in files if f"run {file.name}" not in block and f"run pipeline.{file.stem}" not in block
    ]
    assert missing == []
    assert "braid validate ." in block
