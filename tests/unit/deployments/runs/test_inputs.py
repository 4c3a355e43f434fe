"""Pipelines that cannot declare parameters get those that their steps need; a folder becomes the listing of its files."""

from pathlib import Path

import pytest

from deployments import run
from deployments.catalog import load_catalog
from deployments.runs import Request, load_handlers, plan_request, with_inputs
from deployments.settings import Settings
from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text
from flows.model import InvalidParameters


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bees.md").write_text("# Bees\n\nThe queen bee is called Matilda.\n")
    made = Settings(home=tmp_path / "home", embedding_model="hashing")
    load_handlers(made)
    return made


@pytest.mark.parametrize("text", ["Steps: [extract_text, partition_text]", "[extract_text, partition_text]"])
def test_the_fields_that_no_step_writes_are_required_parameters(text: str, settings: Settings, tmp_path: Path) -> None:
    loaded = load_pipeline_text(text, file="hpd.yaml")
    assert list(with_inputs(loaded, {}).pipeline.parameters) == ["sources"]
    plan_request(Request(loaded), settings=settings, catalog=load_catalog(settings))
    ended = run(loaded, sources=str(tmp_path / "in"), settings=settings, record=False)
    assert ["Matilda" in chunk.text for chunk in ended["chunks"]] == [True]
    with pytest.raises(InvalidParameters, match="sources"):
        run(loaded, settings=settings, record=False)


def test_the_query_of_a_search_pipeline_is_its_parameter(settings: Settings) -> None:
    loaded = load_pipeline_text("Steps: [{HandlerNames: [vector_search, keyword_search]}]", file="hpd.yaml")
    assert list(with_inputs(loaded, {}).pipeline.parameters) == ["query"]
    declared = load_pipeline_text("Query: why?\nSteps: [{HandlerNames: [vector_search]}]", file="hpd.yaml")
    assert with_inputs(declared, {}).pipeline.parameters["query"].default == "why?"


def test_an_hpd_pipeline_may_declare_parameters(settings: Settings) -> None:
    text = "Parameters: {query: {default: why?}}\nSteps: [{HandlerName: keyword_search}]"
    loaded = load_pipeline_text(text, file="hpd.yaml")
    assert loaded.dialect == "hpd"
    assert with_inputs(loaded, {}).pipeline.parameters["query"].default == "why?"


def test_a_native_pipeline_declares_its_parameters(settings: Settings) -> None:
    loaded = load_pipeline_text("name: own\nsteps: [extract_text]", file="own.yaml")
    with pytest.raises(InvalidPipeline, match="reads 'sources', which no earlier step writes"):
        plan_request(Request(loaded), settings=settings, catalog=load_catalog(settings))
