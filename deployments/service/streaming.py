"""A language model that streams its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handlers.models import ChatModel, Completion


@dataclass(frozen=True)
class StreamingChat:
    """A model for steps that also passes each part of an answer to `on_text`."""

    chat: ChatModel
    on_text: Callable[[str], None]

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str | None = None,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout_s: float = 120.0,
    ) -> Completion:
        """The whole answer, as in `Chat`; an answer with a schema is not streamed."""
        if schema is not None:
            return self.chat.complete(
                messages,
                model=model,
                schema=schema,
                max_tokens=max_tokens,
                temperature=temperature,
                timeout_s=timeout_s,
            )
        return self.chat.stream(
            messages, self.on_text, model=model, max_tokens=max_tokens, temperature=temperature, timeout_s=timeout_s
        )
