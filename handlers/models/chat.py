"""A language model behind an endpoint that speaks OpenAI's `/chat/completions`: one client for questions and skills."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

from flows.author import Call
from flows.errors import FatalError
from handlers.models.http import Endpoint

OPENAI_URL = "https://api.openai.com/v1"
NOT_CONFIGURED = (
    "this needs a language model: set BRAID_OPENAI_BASE_URL to an OpenAI-compatible endpoint (for example "
    "http://127.0.0.1:11434/v1), BRAID_CHAT_MODEL to a model it has and, if it asks for one, BRAID_OPENAI_API_KEY"
)

Message: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Completion:
    """The answer of a model, and the tokens used; `complete` is false if the answer was cut off."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    complete: bool = True
    model: str = ""


class Chat(Protocol):
    """A language model, as steps use it; safe to use from several threads."""

    def complete(
        self,
        messages: Sequence[Message],
        *,
        model: str | None = None,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout_s: float = 120.0,
    ) -> Completion:
        """The answer; with `schema`, text that should be JSON of that schema.

        Raises:
            TransientError: the model is busy or unreachable; carries its Retry-After.
            FatalError: it refuses, or its answer is not a text.
        """
        ...


class ChatModel:
    """Any endpoint that speaks OpenAI's `/chat/completions`; `name` is the model if a step names none."""

    def __init__(self, name: str | None = None, *, base_url: str | None = None, api_key: str | None = None) -> None:
        self.name, self._base_url, self._api_key = name, base_url, api_key
        self._endpoint = Endpoint(base_url or OPENAI_URL, api_key=api_key)

    def complete(
        self,
        messages: Sequence[Message],
        *,
        model: str | None = None,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout_s: float = 120.0,
    ) -> Completion:
        """The answer, as `Chat` describes it."""
        request = self._request(messages, model, max_tokens=max_tokens, temperature=temperature)
        if schema is not None:
            named = {"name": "answer", "schema": dict(schema), "strict": is_strict(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": named}
        return self._read(self._endpoint.post("chat/completions", request, timeout_s=timeout_s), request["model"])

    def stream(
        self,
        messages: Sequence[Message],
        on_text: Callable[[str], None],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout_s: float = 120.0,
    ) -> Completion:
        """The answer, as `complete` returns it; `on_text` is called with each part of it as it arrives.

        An exception from `on_text` ends the answer and propagates.

        Raises:
            TransientError: the model is busy or unreachable, or its answer broke off.
            FatalError: it refuses, or its answer is not a text.
        """
        request = self._request(messages, model, max_tokens=max_tokens, temperature=temperature)
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        parts: list[str] = []
        whole: dict[str, Any] = {"finish_reason": None, "refusal": "", "usage": {}}
        try:
            for event in self._endpoint.post_for_events("chat/completions", request, timeout_s=timeout_s):
                whole["usage"] = event.get("usage") or whole["usage"]
                for choice in event.get("choices") or ():
                    delta = choice.get("delta") or {}
                    whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
                    whole["refusal"] += delta.get("refusal") or ""
                    if text := delta.get("content"):
                        parts.append(text)
                        on_text(text)
        except (AttributeError, TypeError) as error:
            raise self._misunderstood(error) from error
        message = {"content": "".join(parts), "refusal": whole["refusal"]}
        answer = {"choices": [{"message": message, "finish_reason": whole["finish_reason"]}], "usage": whole["usage"]}
        return self._read(answer, request["model"])

    def _request(
        self, messages: Sequence[Message], model: str | None, *, max_tokens: int | None, temperature: float | None
    ) -> dict[str, Any]:
        if not self._base_url and not self._api_key:
            raise FatalError(NOT_CONFIGURED)
        chosen = model or self.name
        if not chosen:
            raise FatalError("no model is named; set BRAID_CHAT_MODEL, or `model` in the step or the skill")
        request: dict[str, Any] = {"model": chosen, "messages": [dict(message) for message in messages]}
        if max_tokens is not None:
            # OpenAI's newer models refuse `max_tokens`, while other servers often support only that.
            theirs = (self._base_url or OPENAI_URL).rstrip("/") == OPENAI_URL
            request["max_completion_tokens" if theirs else "max_tokens"] = max_tokens
        if temperature is not None:
            request["temperature"] = temperature
        return request

    def close(self) -> None:
        self._endpoint.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "base_url": self._base_url, "api_key": self._api_key}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)

    def _read(self, answer: Any, model: str) -> Completion:
        try:
            choice = answer["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content"), message.get("refusal")
            usage = answer.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
            complete = choice.get("finish_reason") != "length"
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise self._misunderstood(error) from error
        if refusal:
            raise FatalError(f"model {model!r} refuses: {refusal}")
        return Completion(text if isinstance(text, str) else "", *tokens, complete, model)

    def _misunderstood(self, error: Exception) -> FatalError:
        url = self._endpoint.url("chat/completions")
        return FatalError(f"{url} did not answer as OpenAI's `/chat/completions` does: {error!r}")


def ask_model(
    call: Call,
    prompt: str,
    *,
    system: str = "",
    most_tokens: int = 1000,
    model: str | None = None,
    image: tuple[str, bytes] | None = None,
) -> str:
    """The answer of the run's language model to one prompt; its tokens are reported as the call's cost.

    `image`, a media type and bytes, is shown beside the prompt.

    Raises:
        FatalError: no model is configured, it refuses, or its answer has no text.
        TransientError: it is busy or unreachable.
    """
    if "chat" not in call.services:
        raise FatalError(NOT_CONFIGURED)
    call.check_cancelled()
    content: Any = prompt
    if image is not None:
        address = f"data:{image[0]};base64,{base64.b64encode(image[1]).decode()}"
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": address}}]
    messages = [{"role": "system", "content": system}] if system else []
    completion = cast("Chat", call.services["chat"]).complete(
        [*messages, {"role": "user", "content": content}], max_tokens=most_tokens, temperature=0.0, model=model
    )
    call.report_cost(completion.model, input_tokens=completion.input_tokens, output_tokens=completion.output_tokens)
    if not completion.text.strip():
        raise FatalError(f"model {completion.model!r} answered with no text")
    return completion.text.strip()


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether endpoints may enforce a schema: every object in it is closed and requires all its properties."""
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(is_strict(inner) for inner in _inner_schemas(schema))


def _inner_schemas(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = [item for key in ("properties", "$defs") for item in schema.get(key, {}).values()]
    listed = [item for key in ("anyOf", "allOf", "oneOf") for item in schema.get(key, ())]
    items = schema.get("items")
    return [item for item in [*named, *listed, items] if isinstance(item, Mapping)]
