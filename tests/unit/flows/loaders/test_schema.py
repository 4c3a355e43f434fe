import functools
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from ruamel.yaml import YAML

from flows.author import REGISTRY, load_modules
from flows.errors import InvalidPipeline
from flows.loaders import add_handlers, dialect_schema, load_pipeline_text, pipeline_data, pipeline_schema
from tests.support.paths import EXAMPLES, ROOT
from tests.support.profiles import scaled
from tests.support.strategies import pipelines

NATIVE = [*(EXAMPLES / "templates").glob("*.yaml"), *(EXAMPLES / "dialects").glob("*/native/*.yaml")]
SHIPPED = sorted([*NATIVE, *(ROOT / "deployments" / "pipelines").glob("*.yaml")])
CHECK = jsonschema.Draft202012Validator(pipeline_schema())


def read(text: str):
    return YAML(typ="safe", pure=True).load(text)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(pipeline_schema())


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_pipelines_fit(file):
    CHECK.validate(read(file.read_text()))


@given(pipelines(["extract", "embed"]))
@settings(max_examples=scaled(30), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_is_dumped_fits(pipeline):
    CHECK.validate(pipeline_data(pipeline))


@pytest.mark.parametrize(
    "step",
    [
        "a",
        "[a, [b, c]]",
        "{parallel: [a, [b, c]], max_workers: 2}",
        "{parallel: {branches: [a], MaxConcurrency: unlimited, policy: {minimum_threshold: -1}}}",
        "{parallel: {id: g, max_parallel: 3}, branches: [a]}",
        "{type: parallel, branches: [a], merge: union, policy: fail_fast}",
        "{parallel: [a], policy: {success_when: {ratio: 0.5}}}",
        "{for_each: docs, as: doc, steps: [a], collect: [x], tolerated_failure: 5%}",
        "{for_each: {over: docs}, steps: [a], tolerated_failure: 3, collect: x}",
        "{for_each: {over: docs, steps: [a], collect: {x: y}, tolerated_failure: 0.05}}",
        "{type: for_each, over: docs, steps: [a]}",
        "{merge_results: g}",
        "{merge_results: {from: g, strategy: union}}",
        "{switch: [{when: x, steps: [a]}], default: [b]}",
        "{switch: {cases: [{when: x, steps: [a]}]}}",
        "{pipeline: other, parameters: {x: 1}}",
        "{id: s, steps: [a, b]}",
    ],
)
def test_short_forms_fit_and_load(step):
    text = f"name: p\nsteps: [ {step} ]"
    assert load_pipeline_text(text).pipeline.name == "p"
    CHECK.validate(read(text))


@pytest.mark.parametrize(
    "text",
    [
        "extract",
        "[]",
        "name: p",
        "steps: [a]",
        "{name: p, steps: []}",
        "{name: a b, steps: [a]}",
        "{name: p, steps: [a], verson: x}",
        "{name: p, steps: [a], version: 2}",
        "{name: p, steps: [7]}",
        "{name: p, steps: [{paralel: [a]}]}",
        "{name: p, steps: [{parallel: []}]}",
        "{name: p, steps: [{parallel: {branches: []}}]}",
        "{name: p, steps: [{parallel: [a], max_workers: 0}]}",
        "{name: p, steps: [{parallel: [a], policy: brave}]}",
        "{name: p, steps: [{parallel: [a], policy: {success_when: some}}]}",
        "{name: p, steps: [{handler: a, optoins: {}}]}",
        "{name: p, steps: [{handler: a, timeout_s: 0}]}",
        "{name: p, steps: [{handler: a, retry: {max_attempts: 0}}]}",
        "{name: p, steps: [{for_each: docs}]}",
        "{name: p, steps: [{for_each: {steps: [a]}}]}",
        "{name: p, steps: [{switch: [{steps: [a]}]}]}",
        "{name: p, steps: [{type: foo}]}",
        "{name: p, steps: [a], parameters: {x: {type: txt}}}",
    ],
)
def test_what_does_not_load_does_not_fit(text):
    with pytest.raises(InvalidPipeline):
        load_pipeline_text(text)
    assert not CHECK.is_valid(read(text))


def test_every_key_of_a_step_is_described():
    schema = pipeline_schema()
    undescribed = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, value in definition.get("properties", {}).items()
        if key != "type" and "description" not in value
    ]
    assert undescribed == []


@functools.cache
def with_handlers():
    load_modules(["handlers"])
    made = schema_with_handlers()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def schema_with_handlers() -> dict[str, Any]:
    made = pipeline_schema()
    add_handlers(made, {name: (spec.summary, spec.options) for name, spec in REGISTRY.handlers.items()})
    return made


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_pipelines_fit_with_the_options_of_handlers(file):
    with_handlers().validate(read(file.read_text()))


@pytest.mark.parametrize(
    ("step", "fits"),
    [
        ("{handler: partition_text, options: {max_tokens: 100}}", True),
        ("{handler: partition_text, options: {max_tokens: '{{ most }}'}}", True),
        ("{handler: partition_text, options: {max_tokens: '@payload.most'}}", True),
        ("{handler: partition_text, options: {max_tokens: many}}", False),
        ("{handler: partition_text, options: {max_token: 100}}", False),
        ("{handler: text_to_speech, options: {stability: 0.5}}", True),
        ("{handler: a_handler_of_ones_own, options: {anything: 1}}", True),
    ],
)
def test_the_options_of_a_handler_are_part_of_the_schema(step, fits):
    assert with_handlers().is_valid(read(f"name: p\nsteps: [{step}]\n")) is fits


def test_the_names_of_handlers_are_offered():
    load_modules(["handlers"])
    assert "partition_text" in schema_with_handlers()["$defs"]["Handler"]["properties"]["handler"]["anyOf"][0]["enum"]


FOREIGN = sorted(file for file in (EXAMPLES / "dialects").glob("*/*.*") if file.suffix in (".yaml", ".json"))


@pytest.mark.parametrize("file", FOREIGN, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_examples_fit_the_schema_of_their_dialect(file):
    dialect = file.parent.name.removesuffix("s") if file.parent.name == "chains" else file.parent.name
    made = dialect_schema(dialect)
    jsonschema.Draft202012Validator.check_schema(made)
    jsonschema.Draft202012Validator(made).validate(read(file.read_text()))


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("hpd", "Steps: [{HandlerNam: a}]"),
        ("chain", "promt: x\nsteps: [{type: text_to_image}]"),
        ("data", "steps: [{type: qery}]"),
        ("stages", "stages: [{name: a, job: [b]}]"),
    ],
)
def test_a_misspelt_key_does_not_fit_the_schema_of_a_dialect(dialect, text):
    assert not jsonschema.Draft202012Validator(dialect_schema(dialect)).is_valid(read(text))


@pytest.mark.parametrize("outputs", ["total", "[total, rows]", "{total: sum, rows: , more: {description: x}}", "[]"])
def test_short_forms_of_outputs_fit_and_load(outputs):
    text = f"name: p\noutputs: {outputs}\nsteps: [a]"
    assert load_pipeline_text(text).pipeline.outputs is not None
    CHECK.validate(read(text))
