"""A language model behind an endpoint: requests, costs and errors."""

import pickle
from typing import Any

import pytest

from flows.author import Call
from flows.errors import FatalError, TransientError
from flows.state import Identity, Services
from handlers.models import ChatModel, ask_model
from tests.support.openai_server import OpenAIServer


def asking(model: ChatModel) -> Call:
    return Call(identity=Identity(services=Services({"chat": lambda: model})))


def test_a_question_is_answered_and_its_tokens_are_reported(openai_server: OpenAIServer) -> None:
    openai_server.script = lambda prompt: f"  {prompt.upper()}\n"
    model = ChatModel("small", base_url=openai_server.base_url + "/", api_key=openai_server.api_key)
    call = asking(model)
    assert ask_model(call, "why?", system="Be short.", most_tokens=7) == "WHY?"
    model.close()
    assert ask_model(call, "and again", model="large") == "AND AGAIN"  # a closed model connects anew
    model.close()
    assert (call.costs["input_tokens"], call.costs["output_tokens"]) == (3 + 2, 1 + 2)
    [first, second] = openai_server.asked("/chat/completions")
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("small", 0, 7)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert [message["role"] for message in second["messages"]] == ["user"]
    assert second["model"] == "large"
    assert openai_server.requests[0].headers["Authorization"] == f"Bearer {openai_server.api_key}"


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (429, TransientError, "answered 429"),
        (503, TransientError, "answered 503"),
        (401, FatalError, "answered 401"),
        ({"choices": []}, FatalError, "did not answer as OpenAI's `/chat/completions` does"),
        ({"choices": [{"message": {"content": None}}]}, FatalError, "model 'small' answered with no text"),
        ({"choices": [{"message": {"refusal": "not that"}}]}, FatalError, "model 'small' refuses: not that"),
        (" ", FatalError, "model 'small' answered with no text"),
    ],
)
def test_troubles_say_whether_trying_again_can_help(
    said: Any, kind: type[Exception], message: str, openai_server: OpenAIServer
) -> None:
    openai_server.script = lambda _: said
    model = ChatModel("small", base_url=openai_server.base_url, api_key=openai_server.api_key)
    with pytest.raises(kind, match=message) as raised:
        ask_model(asking(model), "x")
    model.close()
    if isinstance(raised.value, TransientError):
        assert raised.value.retry_after_s == 3


def test_a_key_is_never_shown_also_if_the_server_shows_it(openai_server: OpenAIServer) -> None:
    model = ChatModel("small", base_url=openai_server.base_url, api_key="sk-somebody-elses")
    with pytest.raises(FatalError, match=r"answered 401: .*provided: \*\*\*"):
        ask_model(asking(model), "x")
    model.close()


def test_a_model_follows_a_handler_into_another_process(openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: "here"
    model = pickle.loads(pickle.dumps(ChatModel("s", base_url=openai_server.base_url, api_key=openai_server.api_key)))
    assert ask_model(asking(model), "where?") == "here"
    model.close()


@pytest.mark.parametrize("call", [Call(), asking(ChatModel("small"))])
def test_without_a_model_the_error_names_the_settings(call: Call) -> None:
    with pytest.raises(FatalError, match="BRAID_OPENAI_BASE_URL.*BRAID_CHAT_MODEL"):
        ask_model(call, "x")


def test_an_answer_arrives_in_parts_and_is_the_same_as_a_whole(openai_server: OpenAIServer) -> None:
    openai_server.script = lambda prompt: f"{prompt} and so on"
    model = ChatModel("small", base_url=openai_server.base_url, api_key=openai_server.api_key)
    parts: list[str] = []
    messages = [{"role": "user", "content": "one two"}]
    streamed = model.stream(messages, parts.append, max_tokens=50, temperature=0.0)
    assert "".join(parts) == streamed.text == "one two and so on"
    assert len(parts) == 5
    assert streamed == model.complete(messages, max_tokens=50, temperature=0.0)
    model.close()


@pytest.mark.parametrize(
    ("said", "kind", "message"), [(503, TransientError, "answered 503"), (401, FatalError, "answered 401")]
)
def test_a_refused_stream_says_whether_trying_again_can_help(
    said: int, kind: type[Exception], message: str, openai_server: OpenAIServer
) -> None:
    openai_server.script = lambda _: said
    model = ChatModel("small", base_url=openai_server.base_url, api_key=openai_server.api_key)
    with pytest.raises(kind, match=message):
        model.stream([{"role": "user", "content": "x"}], lambda _: None)
    model.close()


def test_who_takes_the_parts_can_end_the_answer(openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: "one two three"
    model = ChatModel("small", base_url=openai_server.base_url, api_key=openai_server.api_key)

    def leave(text: str) -> None:
        raise InterruptedError(text)

    with pytest.raises(InterruptedError, match="one"):
        model.stream([{"role": "user", "content": "x"}], leave)
    model.close()
