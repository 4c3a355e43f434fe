"""A language model behind an endpoint that speaks OpenAI's `/chat/completions`."""

from dataclasses import dataclass
from typing import Any

from flows.calls import Call
from flows.errors import FatalError
from handlers.models.http import Endpoint

NOT_CONFIGURED = (
    "this needs a language model: set BRAID_OPENAI_BASE_URL to an OpenAI-compatible endpoint (for example "
    "http://127.0.0.1:11434/v1), BRAID_CHAT_MODEL to a model it has and, if it asks for one, BRAID_OPENAI_API_KEY"
)


@dataclass(frozen=True)
class Completion:
    """What the model wrote, and what that took."""

    text: str
    model: str
    input_tokens: int
    output_tokens: int


class ChatModel:
    """One model of an endpoint; safe to use from several threads."""

    def __init__(self, name: str, *, base_url: str, api_key: str | None = None, timeout_s: float = 120.0) -> None:
        self.name = name
        self._endpoint = Endpoint(base_url, api_key=api_key, timeout_s=timeout_s)

    def complete(self, prompt: str, *, system: str = "", most_tokens: int = 1000) -> Completion:
        """The model's answer to one prompt, as little random as it can be.

        Raises:
            TransientError: the endpoint is busy or away; carries its Retry-After.
            FatalError: it refuses, or answers something else than a text.
        """
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": prompt})
        body: dict[str, Any] = {
            "model": self.name, "messages": messages, "temperature": 0, "max_tokens": most_tokens,
        }  # fmt: skip
        answer = self._endpoint.post("chat/completions", body)
        try:
            text = answer["choices"][0]["message"]["content"]
            usage = answer.get("usage") or {}
            tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            url = self._endpoint.url("chat/completions")
            raise FatalError(f"{url} did not answer as OpenAI's `/chat/completions` does: {error!r}") from error
        if not isinstance(text, str) or not text.strip():
            raise FatalError(f"{self._endpoint.url('chat/completions')}: model {self.name!r} answered with no text")
        return Completion(text.strip(), self.name, *tokens)

    def close(self) -> None:
        self._endpoint.close()


def ask_model(call: Call, prompt: str, *, system: str = "", most_tokens: int = 1000) -> str:
    """What the run's language model answers; its tokens are reported as the call's cost.

    Raises:
        FatalError: none is configured, or it refuses.
        TransientError: it is busy or away.
    """
    if "chat" not in call.services:
        raise FatalError(NOT_CONFIGURED)
    call.check_cancelled()
    completion: Completion = call.services["chat"].complete(prompt, system=system, most_tokens=most_tokens)
    call.report_cost(completion.model, input_tokens=completion.input_tokens, output_tokens=completion.output_tokens)
    return completion.text
