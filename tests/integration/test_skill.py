"""Skills against a real OpenAI-compatible server: prompts, structured answers, tries, costs and secrets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from flows.state import Services
from handlers.data import output_model, transform
from handlers.data.functions import FUNCTIONS
from handlers.data.skills import SKILLS, parse_skill
from handlers.data.structured import OUTPUT_MODELS
from handlers.models import ChatModel
from tests.support.data import StepFailed, data_services, run_steps, step_output
from tests.support.openai_server import OpenAIServer

FAST = {"max_attempts": 3, "delay_s": 0}


@pytest.fixture
def services(tmp_path: Path, openai_server: OpenAIServer) -> Services:
    chat = ChatModel("small", base_url=openai_server.base_url, api_key=openai_server.api_key)
    return data_services(tmp_path, chat=chat)


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    before = [(table, dict(table)) for table in (SKILLS, FUNCTIONS, OUTPUT_MODELS)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)  # pyright: ignore


def add_skill(front: str, body: str = "Look at {{ sales | tojson }}.") -> None:
    skill = parse_skill(f"---\n{front}\n---\n{body}\n", "test.md")
    SKILLS[skill.name] = skill


def test_a_skill_fills_its_prompt_and_gives_its_products(services: Services, openai_server: OpenAIServer) -> None:
    add_skill(
        "name: Analyst\nrequires: [sales]\noptional: [note]\nproduces: [report, insights]\nsystem_prompt: Be brief.\nmodel: large"
    )
    openai_server.reply({"report": "fine", "insights": ["more"]})
    result, context = run_steps(
        [{"handler": "skill", "options": {"skill": "Analyst"}}], {"sales": [{"amount": 3}]}, services=services
    )
    assert result.status == "succeeded", result.errors
    assert (context.data["report"], context.data["insights"]) == ("fine", ["more"])
    (asked,) = openai_server.asked("/chat/completions")
    assert asked["model"] == "large"
    assert [message["content"] for message in asked["messages"]] == ["Be brief.", 'Look at [{"amount": 3}].']
    assert set(asked["response_format"]["json_schema"]["schema"]["properties"]) == {"report", "insights"}
    assert result.cost["input_tokens"] > 0
    assert result.cost["output_tokens"] > 0


def test_inputs_that_the_prompt_does_not_mention_are_appended(services: Services, openai_server: OpenAIServer) -> None:
    add_skill("name: Analyst\nproduces: [report]", "Find what is odd.")
    step_output("skill", {"skill": "Analyst", "inputs": ["sales"]}, {"sales": [{"amount": 3}]}, services=services)
    assert (
        openai_server.asked("/chat/completions")[0]["messages"][-1]["content"]
        == 'Find what is odd.\n\nsales:\n[{"amount": 3}]'
    )


def test_data_brings_no_templates_of_its_own(services: Services, openai_server: OpenAIServer) -> None:
    attack = "{{ ''.__class__.__mro__ }} {{ 7 * 7 }}"
    add_skill("name: Analyst\nrequires: [sales]\nproduces: [report]", "Read {{ sales }}")
    step_output("skill", {"skill": "Analyst"}, {"sales": attack}, services=services)
    step_output("skill", {"prompt": "Read {{ sales }}"}, {"sales": attack}, services=services)
    assert [one["messages"][-1]["content"] for one in openai_server.asked("/chat/completions")] == [
        f"Read {attack}"
    ] * 2


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ sales.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
    ],
)
def test_prompts_stay_in_their_sandbox(prompt: str, services: Services, openai_server: OpenAIServer) -> None:
    add_skill("name: Analyst\nrequires: [sales]\nproduces: [report]", prompt)
    with pytest.raises(StepFailed, match="cannot be evaluated: access to attribute|no field named 'cycler'"):
        step_output("skill", {"skill": "Analyst"}, {"sales": "x"}, services=services)
    assert not openai_server.asked("/chat/completions")


class Verdict(BaseModel):
    score: int
    reasons: list[str]


SCHEMA = {"type": "object", "properties": {"score": {"type": "integer", "minimum": 1}}, "required": ["score"]}


def test_structured_output_is_validated(services: Services, openai_server: OpenAIServer) -> None:
    output_model(Verdict)
    openai_server.reply({"score": "4", "reasons": []}, '```json\n{"score": 2}\n```')
    options = {"prompt": "Judge", "output_model": "Verdict"}
    assert step_output("skill", options, services=services) == {"score": 4, "reasons": []}
    assert step_output("skill", {"prompt": "Judge", "output_schema": SCHEMA}, services=services) == {"score": 2}


def test_invalid_output_is_asked_for_again_and_then_fatal(services: Services, openai_server: OpenAIServer) -> None:
    options = {"prompt": "Judge", "output_schema": SCHEMA}
    openai_server.reply("no json", {"score": 0}, {"score": 5})
    assert step_output("skill", options, services=services, retry=FAST) == {"score": 5}
    openai_server.reply(*[{"score": "high"}] * 3)
    with pytest.raises(
        StepFailed, match=r"attempt 3 of 3: the answer does not fit: \$\.score: 'high' is not of type 'integer'"
    ):
        step_output("skill", options, services=services, retry={"max_attempts": 9, "delay_s": 0})
    assert len(openai_server.asked("/chat/completions")) == 6


def test_busy_servers_are_tried_again_and_refusals_are_not(services: Services, openai_server: OpenAIServer) -> None:
    openai_server.fail(429, retry_after="0")
    openai_server.fail(500)
    assert step_output("skill", {"prompt": "Hello"}, services=services, retry=FAST) == "Answer to: Hello"
    assert len(openai_server.requests) == 3
    openai_server.fail(400, times=9, message="no such model")
    with pytest.raises(StepFailed, match="chat/completions answered 400: .*no such model"):
        step_output("skill", {"prompt": "Hello"}, services=services, retry=FAST)
    assert len(openai_server.requests) == 4


def test_an_answer_that_was_cut_off_is_no_answer(services: Services) -> None:
    with pytest.raises(StepFailed, match="the answer was cut off after 4 tokens; raise max_tokens"):
        step_output("skill", {"prompt": "one two", "max_tokens": 2}, services=services)


def test_the_key_is_never_shown(tmp_path: Path, openai_server: OpenAIServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    chat = ChatModel("small", base_url=openai_server.base_url, api_key="sk-hunter22-secret")
    with pytest.raises(StepFailed, match="answered 401: .*Incorrect API key provided: \\*\\*\\*") as caught:
        step_output("skill", {"prompt": "Hello"}, services=data_services(tmp_path, chat=chat))
    assert "hunter22" not in str(caught.value) + caplog.text


def test_without_an_endpoint_the_error_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="set BRAID_OPENAI_BASE_URL"):
        step_output("skill", {"prompt": "Hello", "model": "m"}, services=data_services(tmp_path))


def test_action_skills_call_functions(services: Services) -> None:
    @transform
    def totals(sales: list[Any], *, factor: int = 1) -> dict[str, Any]:
        return {"total": sum(sales) * factor, "count": len(sales)}

    add_skill(
        "name: Totals\nrequires: [sales]\nproduces: [total]\noptional_produces: [count]\nexecutor: action\n"
        "action: {type: python_function, function: totals, params: {factor: 2}, timeout: 5, retry: 1}",
        "",
    )
    result, context = run_steps(
        [{"handler": "skill", "options": {"skill": "Totals"}}], {"sales": [1, 2]}, services=services
    )
    assert result.status == "succeeded", result.errors
    assert (context.data["total"], context.data["count"]) == (6, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skill": "Analist"}, "no skill named 'Analist'"),
        ({"skill": "../../etc/passwd"}, "no skill named '../../etc/passwd'"),
        ({"prompt": "x", "output_model": "Verdct"}, "no output model named 'Verdct'"),
        ({"prompt": "x", "output_schema": {"type": "objekt"}}, "output_schema is not a JSON Schema"),
        (
            {"prompt": "x", "output_schema": {"$ref": "https://example.com/s.json"}},
            "output_schema refers to another document",
        ),
    ],
)
def test_what_cannot_run_is_refused_when_planned(options: Any, message: str, services: Services) -> None:
    with pytest.raises(Exception, match=".*") as caught:
        step_output("skill", options, services=services)
    assert message in str(caught.value)
