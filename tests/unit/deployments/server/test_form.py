"""The form of a deployment: written from a request, read back, and the schema that the server checks it by."""

from pathlib import Path

import pytest
from prefect.utilities.callables import parameter_schema

from deployments.catalog import Catalog, load_catalog
from deployments.runs import Request, load_handlers
from deployments.server.deployed import make_flow
from deployments.server.desired import deployment_description
from deployments.server.form import controls_of, form_values, read_form
from deployments.server.named_sources import offering_sources, with_named_source
from deployments.settings import Settings, load_settings
from flows.loaders import load_pipeline_text
from flows.model import InvalidParameters
from flows.planning import Limit
from flows.translator import form_schema

PIPELINE = """
name: nightly
parameters:
  source: {type: text, required: true}
  limit: {type: integer, minimum: 1, default: 5}
steps:
  - parallel: [extract_text, list_sources]
"""
INGEST = load_catalog(load_settings()).find("ingest").pipeline
LOADED = load_pipeline_text(PIPELINE, file="nightly.yaml")


def test_a_request_comes_through_the_form_as_it_was() -> None:
    request = Request(
        LOADED,
        {"source": "s", "limit": 3},
        index="manuals",
        ceiling=Limit(2, "max_concurrency of the run"),
        budget={"usd": 5.0, "seconds": 60.0},
    )
    assert read_form(LOADED, form_values(request)).request == request


def test_an_empty_form_leaves_everything_to_the_pipeline_and_the_settings() -> None:
    form = read_form(LOADED, {"source": "s", "budget_usd": None, "resume_from": None})
    assert form.request == Request(LOADED, {"source": "s"})
    assert (form.dry_run, form.resume_from) == (False, None)


def test_a_budget_in_a_unit_that_the_form_lacks_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="cannot be in coins, only in usd, tokens, seconds"):
        form_values(Request(LOADED, {}, budget={"coins": 1.0}))


def test_a_parameter_of_the_pipeline_takes_the_place_of_a_control_of_that_name() -> None:
    loaded = load_pipeline_text("name: own\nparameters: {index: {type: integer}}\nsteps: [list_sources]", file="own")
    request = read_form(loaded, {"index": 7}).request
    assert (request.parameters, request.index) == ({"index": 7}, "default")


def test_the_policy_is_asked_for_where_a_group_declares_none() -> None:
    declared = load_pipeline_text(
        "name: own\nsteps: [{parallel: {branches: [list_sources], policy: fail_fast}}]", file="own"
    )
    assert "policy" in {control.name for control in controls_of(LOADED.pipeline)}
    assert "policy" not in {control.name for control in controls_of(declared.pipeline)}
    policy = read_form(LOADED, {"source": "s", "policy": "best_effort"}).request.policy
    assert policy is not None
    assert policy.name == "best_effort"


def test_the_server_has_the_schema_of_the_flow() -> None:
    """As `prefect deploy` makes it, except for nulls, which the UI would fill in and then refuse."""
    flow = make_flow(LOADED, Catalog({"nightly": LOADED}))
    schema = form_schema(LOADED.pipeline, controls_of(LOADED.pipeline))
    of_prefect = parameter_schema(flow).model_dump_for_openapi()
    for field in of_prefect["properties"].values():
        if field.get("default", ...) is None:
            del field["default"]
    assert schema == of_prefect


def test_no_field_starts_with_null() -> None:
    for field in form_schema(INGEST, controls_of(INGEST))["properties"].values():
        assert field.get("default", "") is not None


def test_the_form_asks_in_words_and_for_the_most_important_first() -> None:
    properties = form_schema(INGEST, controls_of(INGEST))["properties"]
    order = sorted(properties, key=lambda name: properties[name]["position"])
    assert order[:3] == ["source", "index", "pattern"]
    assert order.index("force") > order.index("prune")  # `force` is advanced
    assert order[-1] == "budget_seconds"
    assert [properties[name]["title"] for name in ("source", "ocr", "max_concurrency", "budget_usd")] == [
        "Source",
        "OCR",
        "Most steps at once",
        "Budget: US dollars",
    ]


def test_what_may_be_left_out_is_a_plain_field() -> None:
    """The UI shows two buttons and "Property is type None" for a field that may have two types."""
    properties = form_schema(INGEST, controls_of(INGEST))["properties"]
    assert not [name for name, field in properties.items() if "anyOf" in field]
    assert properties["only_step"]["type"] == "string"
    assert (properties["max_concurrency"]["type"], properties["max_concurrency"]["minimum"]) == ("integer", 1)


def test_the_description_has_the_outputs_with_their_types() -> None:
    settings = load_settings()
    load_handlers(settings)
    catalog = load_catalog(settings)
    told = deployment_description(catalog.find("search"), catalog=catalog)
    assert told.startswith(
        "Search an index by meaning and by words at once, and fuse the results; exact matches come first.\n\nOutputs"
    )
    assert "- `passages` (list[Hit]): The passages that answer the question" in told


def test_without_the_handlers_the_declared_outputs_are_listed() -> None:
    text = "name: reports\noutputs: {total: {description: All of it.}}\nsteps: [no_such_handler]\n"
    loaded = load_pipeline_text(text)
    told = deployment_description(loaded, catalog=Catalog({"reports": loaded}))
    assert told == "Outputs:\n\n- `total`: All of it."


def test_the_form_of_an_ingestion_offers_the_named_sources_and_takes_their_names(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(
        "handbook: {place: /srv/handbook, index: manuals, pattern: '**/*.md', prune: true}\ncontracts: {place: /srv/c}\n"
    )
    settings = Settings(home=tmp_path, sources=tmp_path / "sources.yaml")
    loaded = load_catalog(settings).find("ingest")
    shown = form_schema(offering_sources(loaded, settings).pipeline, ())["properties"]["source"]["description"]
    assert shown == "A folder, a file or an s3:// prefix with documents; or one of sources.yaml: contracts, handbook."
    left_open = {"source": "handbook", "index": "default", "pattern": "**/*", "prune": False, "force": True}
    assert with_named_source(loaded, left_open, settings) == {
        "source": "/srv/handbook",
        "index": "manuals",
        "pattern": "**/*.md",
        "prune": True,
        "force": True,
    }
    filled = {"source": "handbook", "index": "trial", "pattern": "*.txt"}
    assert with_named_source(loaded, filled, settings)["index"] == "trial"
    assert with_named_source(loaded, filled, settings)["pattern"] == "*.txt"
    assert with_named_source(loaded, {"source": "elsewhere"}, settings) == {"source": "elsewhere"}
