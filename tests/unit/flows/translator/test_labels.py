"""The names and tags of flow runs."""

from collections.abc import Mapping
from typing import Any

import pytest

from flows.author import Registry, handler
from flows.engine import Prepared
from flows.model import Pipeline, keep_secret
from flows.planning import Plan, make_plan
from flows.state import Context, Identity
from flows.translator.labels import run_name, run_tags

MADE = Registry()


@handler(registry=MADE, writes=None, needs="index_store")
def stores() -> None: ...


@handler(registry=MADE, writes=None, effects="index.documents")
def publishes() -> None: ...


@handler(registry=MADE, writes=None)
def computes() -> None: ...


def planned(step: str, **more: object) -> Plan:
    pipeline = Pipeline.model_validate({"name": "p", "steps": [step], **more})
    return make_plan(pipeline, registry=MADE, given=["source", "name", "n"])


def started(**fields: object) -> Context:
    return Context(fields, identity=Identity("p", "261130-1", "manuals"))


@pytest.mark.parametrize(
    ("step", "more", "fields", "name"),
    [
        ("stores", {}, {"source": "/data/manuals"}, "p · manuals · /data/manuals"),
        ("publishes", {}, {"source": "/data/manuals"}, "p · manuals · /data/manuals"),
        ("computes", {}, {}, "p · 261130-1"),
        ("computes", {"parameters": {"name": {"type": "text", "required": True}}}, {"name": "Ada"}, "p · Ada"),
        (
            "stores",
            {"run_name": "{{ pipeline }} of {{ name }} into {{ index }}"},
            {"name": "Ada"},
            "p of Ada into manuals",
        ),
        ("computes", {"run_name": "{{ missing }}"}, {}, "p · 261130-1"),
        ("computes", {"run_name": "night"}, {"source": "/x"}, "night"),
    ],
)
def test_a_run_is_named_for_what_tells_it_from_others(
    step: str, more: dict[str, object], fields: dict[str, object], name: str
) -> None:
    assert run_name(planned(step, **more), started(**fields)) == name


def test_a_resuming_run_is_named_after_the_run_that_it_resumes() -> None:
    resuming = Context({"source": "/x"}, identity=Identity("p", "261130-2", "manuals", resumes="261130-1"))
    assert run_name(planned("stores", run_name="night"), resuming) == "p · resumes 261130-1"


def test_the_name_that_a_run_is_created_with_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.runtime import flow_run

    from flows.translator import translate

    keep_secret(["hunter22"])
    pipeline = Pipeline.model_validate({"name": "p", "steps": ["computes"]})

    def prepare(_: Mapping[str, Any]) -> Prepared:
        raise AssertionError

    name: Any = translate(pipeline, prepare).flow_run_name
    given = {"source": "https://me:pass-in-url@example.org/x", "query": "hunter22"}
    monkeypatch.setattr(flow_run, "parameters", given, raising=False)
    assert name() == "p · https://me:***@example.org/x · ***"
    monkeypatch.setattr(flow_run, "parameters", {"resume_from": "hunter22"}, raising=False)
    assert name() == "p · resumes ***"


def test_tags_say_pipeline_index_and_source_but_no_secret() -> None:
    keep_secret(["hunter22"])
    context = started(source="https://me:hunter22@example.org/files")
    assert run_tags(planned("computes"), context)[0] == "pipeline:p"
    assert run_tags(planned("stores"), context)[:2] == ["pipeline:p", "index:manuals"]
    assert "hunter22" not in str(run_tags(planned("stores"), context)) + run_name(planned("stores"), context)
