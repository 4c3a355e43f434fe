"""Chat with a language model: a thin protocol, and any OpenAI-compatible endpoint behind it."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flows.classify import TRANSIENT_HTTP, retry_after
from flows.errors import FatalError, TransientError
from handlers.data.secrets import hide

Message = Mapping[str, str]


@dataclass(frozen=True)
class Completion:
    """What a model answered, and the tokens it took; `complete` is false when the answer was cut off."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    complete: bool = True
    model: str = ""


class Chat(Protocol):
    """What skills need of a language model; safe to use from several threads."""

    def complete(
        self, messages: Sequence[Message], *, model: str | None, schema: Mapping[str, Any] | None,
        max_tokens: int | None, temperature: float | None, timeout_s: float,
    ) -> Completion:  # fmt: skip
        """The answer; with `schema`, text that should be JSON of that schema.

        Raises:
            TransientError: the model is busy or away; carries its Retry-After.
            FatalError: it refuses.
        """
        ...


class OpenAIChat:
    """Any endpoint that speaks OpenAI's `/chat/completions`."""

    def __init__(self, *, base_url: str | None = None, api_key: str | None = None, model: str | None = None) -> None:
        self._base_url, self._api_key, self._model = base_url, api_key, model
        self._client: Any = None
        self._lock = threading.Lock()

    def complete(
        self, messages: Sequence[Message], *, model: str | None = None, schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None, temperature: float | None = None, timeout_s: float = 120.0,
    ) -> Completion:  # fmt: skip
        chosen = model or self._model
        if not chosen:
            raise FatalError("no model is named; set BRAID_CHAT_MODEL, or `model` in the step or the skill")
        request: dict[str, Any] = {"model": chosen, "messages": [dict(message) for message in messages]}
        if schema is not None:
            named = {"name": "answer", "schema": dict(schema), "strict": is_strict(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": named}
        if max_tokens is not None:
            request["max_completion_tokens"] = max_tokens
        if temperature is not None:
            request["temperature"] = temperature
        return _completion(self._sent(request, timeout_s), chosen)

    def _sent(self, request: Mapping[str, Any], timeout_s: float) -> Any:
        client = self._connected()
        import openai

        try:
            return client.chat.completions.create(timeout=timeout_s, **request)
        except openai.APIConnectionError as error:  # timeouts too
            raise TransientError(f"the model's endpoint: {self._hidden(error)}") from None
        except openai.APIStatusError as error:
            text = f"the model's endpoint answered {error.status_code}: {self._hidden(error)}"
            if error.status_code in TRANSIENT_HTTP or error.status_code >= 500:
                raise TransientError(text, retry_after_s=retry_after(error)) from None
            raise FatalError(text) from None
        except openai.OpenAIError as error:
            raise FatalError(f"the model's endpoint did not answer as OpenAI's: {self._hidden(error)}") from None

    def _hidden(self, error: Exception) -> str:
        return hide(str(error)[:500], [self._api_key])

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                if not self._base_url and not self._api_key:
                    raise FatalError("no language model is set; set BRAID_OPENAI_BASE_URL to an OpenAI-compatible "
                                     "endpoint, and BRAID_OPENAI_API_KEY if it needs a key")  # fmt: skip
                try:
                    import openai
                except ImportError as error:
                    raise FatalError("needs the package openai: pip install 'braid-pipelines[llm]'") from error
                # Trying again is for the step's retry policy alone; a server of one's own may need no key.
                self._client = openai.OpenAI(
                    base_url=self._base_url or "https://api.openai.com/v1",
                    api_key=self._api_key or "none",
                    max_retries=0,
                )
            return self._client

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

    def __getstate__(self) -> dict[str, Any]:
        return {"base_url": self._base_url, "api_key": self._api_key, "model": self._model}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)


def _completion(answer: Any, model: str) -> Completion:
    usage = getattr(answer, "usage", None)
    tokens = (getattr(usage, "prompt_tokens", 0) or 0, getattr(usage, "completion_tokens", 0) or 0)
    choices = getattr(answer, "choices", None)
    if not choices:
        raise FatalError("the model's endpoint did not answer as OpenAI's `/chat/completions` does: no choices")
    message = choices[0].message
    refusal = getattr(message, "refusal", None)
    if refusal:
        raise FatalError(f"the model refuses: {refusal}")
    return Completion(message.content or "", *tokens, choices[0].finish_reason != "length", model)


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether endpoints may enforce a schema: every object in it is closed, and needs all its properties."""
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(is_strict(inner) for inner in _inner(schema))


def _inner(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = [item for key in ("properties", "$defs") for item in schema.get(key, {}).values()]
    listed = [item for key in ("anyOf", "allOf", "oneOf") for item in schema.get(key, ())]
    items = schema.get("items")
    return [item for item in [*named, *listed, items] if isinstance(item, Mapping)]
