"""Pipelines by name, by pipeline.NAME and by file."""

from pathlib import Path

import pytest

from deployments.catalog import load_catalog
from deployments.settings import Settings
from flows import Registry, handler
from flows.errors import DuplicateName, InvalidPipeline, UnknownName
from flows.planning import make_plan

TEXT = "name: mine\nsteps: [list_sources]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(TEXT)
    return tmp_path


def test_a_pipeline_is_found_by_every_name_it_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = load_catalog(Settings(pipelines_dirs=(folder,)))
    monkeypatch.chdir(folder)
    for name in ("mine", "pipeline.mine", "mine.yaml", str(folder / "mine.yaml"), "./mine.yaml"):
        assert catalog.find(name).pipeline.name == "mine"
    assert catalog.find("ingest.yaml").pipeline.name == "ingest"
    assert {"ingest", "search", "mine"} <= set(catalog.pipelines)


def test_the_full_name_comes_first(tmp_path: Path) -> None:
    for name, job in (("daily", "pipeline.ingest"), ("ingest", "search_index"), ("outer", "pipeline.inner")):
        (tmp_path / f"pipeline.{name}.yaml").write_text(
            f"pipeline_id: pipeline.{name}\nstages: [{{name: only, jobs: [{job}]}}]\n"
        )
    (tmp_path / "pipeline.inner.yaml").write_text(
        "pipeline_id: pipeline.inner\nstages: [{name: s, jobs: [quiet_job]}]\n"
    )
    catalog = load_catalog(Settings(pipelines_dirs=(tmp_path,)))
    assert catalog.find("pipeline.ingest").file == str(tmp_path / "pipeline.ingest.yaml")
    assert catalog.find("ingest").pipeline.name == "ingest"
    assert catalog.find("pipeline.outer.yaml").pipeline.name == "pipeline.outer"
    registry = Registry()

    @handler(registry=registry)
    def quiet_job() -> None: ...

    @handler(registry=registry)
    def search_index() -> None: ...

    for name, inner in (("pipeline.daily", "search_index"), ("pipeline.outer", "quiet_job")):
        plan = make_plan(catalog.find(name).pipeline, registry=registry, catalog=catalog.pipelines)
        assert inner in [leaf.spec.name for leaf in plan.leaves]


def test_an_unknown_name_brings_the_nearest(folder: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'ingest'"):
        load_catalog(Settings()).find("ingets")
    with pytest.raises(InvalidPipeline, match="there is no such file"):
        load_catalog(Settings()).find("./nowhere.yaml")


def test_two_pipelines_of_one_name_are_refused_with_both_paths(folder: Path) -> None:
    (folder / "other.yml").write_text(TEXT)
    with pytest.raises(DuplicateName) as refused:
        load_catalog(Settings(pipelines_dirs=(folder,)))
    assert str(folder / "mine.yaml") in str(refused.value)
    assert str(folder / "other.yml") in str(refused.value)


def test_a_folder_named_twice_is_read_once(folder: Path) -> None:
    assert "mine" in load_catalog(Settings(pipelines_dirs=(folder, folder))).loaded


def test_a_broken_file_hides_no_other_and_complains_when_asked_for(folder: Path) -> None:
    (folder / "broken.yaml").write_text("name: broken\nstps: []\n")
    catalog = load_catalog(Settings(pipelines_dirs=(folder,)))
    assert "mine" in catalog.loaded
    with pytest.raises(InvalidPipeline, match="stps"):
        catalog.find("broken")


def test_a_pipeline_in_a_file_runs_those_in_the_files_beside_it(tmp_path: Path) -> None:
    texts = {
        "pipeline.daily": "pipeline_id: pipeline.daily\nstages: [{name: s, jobs: [pipeline.ingest]}]\n",
        "pipeline.ingest": "pipeline_id: pipeline.ingest\nstages: [{name: s, jobs: [pipeline.inner]}]\n",
        "pipeline.inner": "pipeline_id: pipeline.inner\nstages: [{name: s, jobs: [query_rewrite]}]\n",
        "outer": "name: outer\nsteps: [{for_each: items, steps: [{pipeline: pipeline.inner}]}]\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    catalog = load_catalog(Settings())
    for name in ("pipeline.daily", "outer"):
        found = catalog.find(str(tmp_path / f"{name}.yaml"))
        pipelines = catalog.beside(found).pipelines
        plan = make_plan(
            found.pipeline, registry=stand_in("query_rewrite"), catalog=pipelines, given=["items", "query"]
        )
        assert [leaf.spec.name for leaf in plan.leaves] == ["query_rewrite"]


def stand_in(name: str) -> Registry:
    registry = Registry()

    @handler(name=name, registry=registry)
    def does_nothing() -> None: ...

    return registry


def test_a_name_that_a_pipeline_beside_the_file_and_one_of_the_catalog_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("name: search\nsteps: [query_rewrite]\n")
    (tmp_path / "outer.yaml").write_text("name: outer\nsteps: [{pipeline: search}]\n")
    catalog = load_catalog(Settings())
    with pytest.raises(DuplicateName, match=r"two pipelines are named 'search': .* and .*search\.yaml"):
        catalog.beside(catalog.find(str(tmp_path / "outer.yaml")))


def test_what_is_wrong_with_a_file_beside_is_reported(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text("name: inner\nstps: []\n")
    (tmp_path / "outer.yaml").write_text("name: outer\nsteps: [{pipeline: inner}]\n")
    catalog = load_catalog(Settings())
    with pytest.raises(InvalidPipeline, match="inner.yaml:2:1: 'stps'"):
        catalog.beside(catalog.find(str(tmp_path / "outer.yaml")))
