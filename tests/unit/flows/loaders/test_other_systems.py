"""Files as the other systems really write them: options of providers, own step types, and files that are no pipelines."""

from pathlib import Path
from typing import Any

import pytest

from flows.author import Registry, handler, load_modules
from flows.engine import Prepared, run_plan
from flows.errors import InvalidPipeline
from flows.loaders import load_pipeline_text
from flows.model import Handler
from flows.planning import Plan, make_plan
from flows.state import Context

VOICES = """
name: voices
prompt: "A short text to speak."
steps:
  - type: parallel_group
    params:
      max_workers: 2
      merge_strategy: collect_all
      parallel_steps:
        - {type: text_to_speech, model: elevenlabs, params: {voice: rachel, speed: 1.0, stability: 0.5, style: 0.2}}
        - {type: text_to_speech, model: elevenlabs, params: {voice: drew, voise: x}}
"""


def planned(text: str, registry: Registry | None = None) -> Plan:
    loaded = load_pipeline_text(text, file="f.yaml")
    return make_plan(loaded, registry=registry)


def test_options_of_the_provider_are_passed_on_with_a_warning() -> None:
    load_modules(["handlers.content"])
    plan = planned(VOICES.replace(", voise: x", ""))
    assert plan.leaves[0].options["provider_options"] == {"stability": 0.5, "style": 0.2}
    (warning,) = plan.warnings
    assert (warning.line, warning.code) == (10, "provider-option")
    assert "stability, style" in warning.message


@pytest.mark.parametrize(
    "text",
    [
        "name: Simple Image Generation!\nprompt: a dawn\nsteps: [{type: text_to_image, params: {}}]\n",
        "name: Simple Image Generation!\nsteps: [{type: query, source: db, query: q, output: rows}]\n",
        "name: Simple Image Generation!\nsteps: [{type: SequentialStep, handler_name: a}]\n",
        "name: Simple Image Generation!\nstages: [{name: s, jobs: [a]}]\n",
        "pipeline_id: Simple Image Generation!\nstages: [{name: s, jobs: [a]}]\n",
    ],
)
def test_a_name_in_words_becomes_one_that_a_command_can_name(text: str) -> None:
    loaded = load_pipeline_text(text, file="f.yaml")
    assert loaded.dialect != "native"
    assert (loaded.pipeline.name, loaded.pipeline.description) == (
        "Simple_Image_Generation",
        "Simple Image Generation!",
    )
    described = load_pipeline_text(f"description: Makes a picture.\n{text}", file="f.yaml").pipeline
    assert described.description == "Makes a picture."


def test_a_misspelt_option_is_still_one() -> None:
    load_modules(["handlers.content"])
    with pytest.raises(InvalidPipeline, match="no option 'voise'; did you mean 'voice'"):
        planned(VOICES)


async def test_steps_of_ones_own_are_kept_apart_by_branch_whatever_they_write() -> None:
    registry = Registry()

    @handler(registry=registry, writes="video")
    def own_upscaler(text: str, *, factor: int) -> str:
        return f"{text} × {factor}"

    text = """
    prompt: a
    steps:
      - type: parallel_group
        parallel_steps:
          - {type: own_upscaler, name: twice, params: {factor: 2}}
          - {type: own_upscaler, name: fourfold, params: {factor: 4}}
    """
    plan = planned(text, registry)
    context = Context({"text": "a"})
    assert (await run_plan(Prepared(plan, context))).status == "succeeded"
    assert context.data["video"] == {"twice": "a × 2", "fourfold": "a × 4"}


def test_unknown_types_are_named_together_with_what_to_do() -> None:
    with pytest.raises(InvalidPipeline) as refused:
        planned("prompt: x\nsteps: [{type: lip_sync, params: {}}, {type: voice_clone, params: {}}]", Registry())
    (together,) = [problem for problem in refused.value.problems if problem.code == "unknown-types"]
    assert "lip_sync, voice_clone" in together.message
    assert "braid new handler lip_sync" in together.message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("---\nname: Analyst\nrequires: [a]\nproduces: [b]\n---\nSay what is {{ a }}.\n", "skill file"),
        (
            "---\nname: ParallelPipelineDemo\ndescription: shows it\n---\n# Demo\n\n```yaml\nsteps: []\n```\n",
            "skill file",
        ),
        ("name: Analyst\nexecutor: action\naction: {type: python_function}\n", "definition of a skill"),
        ("job_id: ingest_gmail_acct1\njob_type: ingest\nsource: {stream: gmail}\n", "job definition"),
        ("name: helper\nmodel: small\nskills: [Analyst]\nsystem_prompt: Help.\n", "definition of an agent"),
        ("prefect-version: 3.0.0\nname: x\ndeployments: []\n", "prefect deploy"),
        ("schedules: [{cron: 0 3 * * *}]\n", "file of schedules"),
        ("ingest: {schedules: {night: {cron: 0 3 * * *}}}\n", "file of schedules"),
        ("services: {db: {image: postgres}}\nvolumes: {}\n", "Docker Compose"),
        ("$schema: x\ntype: object\nproperties: {}\n", "JSON Schema"),
    ],
)
def test_other_files_of_these_systems_are_said_to_be_what_they_are(text: str, word: str) -> None:
    with pytest.raises(InvalidPipeline) as refused:
        load_pipeline_text(text, file="f.yaml")
    (problem,) = refused.value.problems
    assert (problem.line, problem.code) == (1, "not-a-pipeline")
    assert word in problem.message


def only_step(text: str) -> dict[str, Any]:
    (step,) = load_pipeline_text(text, file="f.yaml").pipeline.steps
    assert isinstance(step, Handler)
    return {"handler": step.handler, **step.options}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            "{type: python_function, function: f, inputs: [a], output: b}",
            {"handler": "transform", "function": "f", "inputs": ["a"], "output": "b"},
        ),
        (
            "{type: transform, python_function: f, inputs: [a], output: b}",
            {"handler": "transform", "function": "f", "inputs": ["a"], "output": "b"},
        ),
        (
            '{type: query, source: crm, collection: users, filter: {id: "{id}"}, limit: 5, output: b}',
            {
                "handler": "query",
                "source": "crm",
                "query": {"collection": "users", "filter": {"id": "{id}"}, "limit": 5},
                "output": "b",
            },
        ),
        (
            "{type: query, source: crm, query: users, filter: {age: 3}, output: b}",
            {
                "handler": "query",
                "source": "crm",
                "query": {"collection": "users", "filter": {"age": 3}},
                "output": "b",
            },
        ),
        (
            '{type: query, source: cache, key: "user:{id}", output: b}',
            {
                "handler": "query",
                "source": "cache",
                "query": {"command": "GET", "args": ["user:{id}"]},
                "output": "b",
            },
        ),
        (
            '{type: query, source: cache, command: HGETALL, key: "user:1", output: b}',
            {"handler": "query", "source": "cache", "query": {"command": "HGETALL", "args": ["user:1"]}, "output": "b"},
        ),
    ],
)
def test_steps_as_the_agent_engine_writes_them(step: str, expected: dict[str, Any]) -> None:
    assert only_step(f"steps: [{step}]") == expected


def test_placeholders_in_such_queries_are_parameters() -> None:
    text = 'steps: [{type: query, source: crm, collection: users, filter: {id: "{user}"}, output: b}]'
    assert list(load_pipeline_text(text, file="f.yaml").pipeline.parameters) == ["user"]
    text = 'steps: [{type: query, source: cache, key: "user:{id}", output: b}]'
    assert list(load_pipeline_text(text, file="f.yaml").pipeline.parameters) == ["id"]


def test_no_example_is_taken_for_another_file(tmp_path: Path) -> None:
    from flows.loaders import load_pipeline
    from tests.support.paths import EXAMPLES

    for file in [*EXAMPLES.glob("dialects/*/*.yaml"), *EXAMPLES.glob("templates/*.yaml")]:
        assert load_pipeline(file).pipeline.steps
