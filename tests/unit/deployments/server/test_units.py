"""systemd accepts the unit files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

UNITS = sorted((ROOT / "deployments" / "systemd").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    copies: list[str] = []
    for unit in UNITS:
        path = tmp_path / unit.name
        path.write_text(unit.read_text().replace("ExecStart=/srv/braid/.venv/bin/", "ExecStart=/bin/echo "))
        copies.append(str(path))
    checked = subprocess.run(["systemd-analyze", "verify", *copies], capture_output=True, text=True)
    assert (len(copies), checked.returncode, checked.stderr) == (2, 0, "")
