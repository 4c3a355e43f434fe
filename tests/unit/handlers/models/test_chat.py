"""A language model behind an endpoint: what it is asked, what it costs, and how its troubles are told."""

from typing import Any

import pytest

from flows.calls import Call
from flows.context import Identity
from flows.errors import FatalError, TransientError
from flows.services import Services
from handlers.models.chat import ChatModel, ask_model
from tests.chat import chat_server


def test_a_question_is_answered_and_its_tokens_are_reported() -> None:
    with chat_server(lambda prompt: f"  {prompt.upper()}\n") as server:
        model = ChatModel("small", base_url=server.url + "/", api_key="k-1")
        call = Call(identity=Identity(services=Services({"chat": lambda: model})))
        assert ask_model(call, "why?", system="Be short.", most_tokens=7) == "WHY?"
        model.close()
        assert ask_model(call, "again") == "AGAIN"  # a closed model connects anew
        model.close()
    assert (call.costs["input_tokens"], call.costs["output_tokens"]) == (200, 20)
    [first, second] = server.requests
    assert first["path"] == "/v1/chat/completions"
    assert first["authorization"] == "Bearer k-1"
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("small", 0, 7)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert [message["role"] for message in second["messages"]] == ["user"]


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (429, TransientError, "answered 429"),
        (503, TransientError, "answered 503"),
        (401, FatalError, "answered 401"),
        ({"choices": []}, FatalError, "did not answer as OpenAI's `/chat/completions` does"),
        ({"choices": [{"message": {"content": None}}]}, FatalError, "model 'small' answered with no text"),
        (" ", FatalError, "model 'small' answered with no text"),
    ],
)
def test_troubles_say_whether_trying_again_can_help(said: Any, kind: type[Exception], message: str) -> None:
    with chat_server(lambda _: said) as server:
        model = ChatModel("small", base_url=server.url)
        with pytest.raises(kind, match=message) as raised:
            model.complete("x")
        model.close()
    if isinstance(raised.value, TransientError):
        assert raised.value.retry_after_s == 3


def test_without_a_model_it_is_said_what_to_set() -> None:
    with pytest.raises(FatalError, match="BRAID_OPENAI_BASE_URL.*BRAID_CHAT_MODEL"):
        ask_model(Call(), "x")
