"""The entrypoints that deployments name, as Prefect loads them in the process that runs a flow."""

import sys
from pathlib import Path

import pytest
from prefect.exceptions import MissingFlowError
from prefect.flows import load_flow_from_entrypoint

from deployments.server.desired import ROOT

# Prefect puts the folder of the file on `sys.path`, and leaves it there.
FILES = ["deployments/server/entrypoints.py", "deployments/catalog.py"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("BRAID_PIPELINES_DIRS", str(tmp_path))
    monkeypatch.setattr("sys.path", list(sys.path))
    return tmp_path


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", ["mine", "pipeline__with__dots"])
def test_every_pipeline_of_the_catalog_is_a_flow_of_the_file(folder: Path, file: str, name: str) -> None:
    pipeline = name.replace("__", ".")
    (folder / "any.yaml").write_text(f"name: {pipeline}\nsteps: [list_sources]\n")
    assert load_flow_from_entrypoint(f"{file}:{name}").name == pipeline


@pytest.mark.parametrize("file", FILES)
def test_a_name_without_a_pipeline_is_no_flow(folder: Path, file: str) -> None:
    with pytest.raises(MissingFlowError, match="'nothing' not found"):
        load_flow_from_entrypoint(f"{file}:nothing")
