"""Providers of speech, images, descriptions and texts: an OpenAI-compatible endpoint, or programs on this machine."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Protocol

from flows.author import Call
from flows.errors import FatalError
from handlers.content.describing import describe
from handlers.content.posters import draw_poster, moving_poster, parse_size
from handlers.content.speech import speak
from handlers.ingestion import split_sentences, summarise
from handlers.models import Endpoint, ask_model

SPEECH_TIMEOUT_S = 120.0


class ContentProvider(Protocol):
    """The models behind content steps; safe to use from several threads. Costs are reported to `call`.

    `extra` are options specific to the provider; a provider without such options logs a warning.

    Every method raises:
        TransientError: it is busy or unreachable. FatalError: it refuses, or does not support this.
    """

    name: str
    draws: bool
    """Whether it makes real pictures, not placeholders."""

    def speech(
        self, text: str, *, model: str, voice: str, language: str, speed: float, extra: Mapping[str, Any], call: Call
    ) -> bytes:
        """A WAV."""
        ...

    def image(self, prompt: str, *, model: str, size: str, extra: Mapping[str, Any], call: Call) -> bytes:
        """A picture in a format that Pillow reads."""
        ...

    def describe(
        self,
        image: bytes,
        *,
        media_type: str,
        prompt: str,
        model: str,
        where: str,
        extra: Mapping[str, Any],
        call: Call,
    ) -> str:
        """A description of a picture; `where` names it in errors."""
        ...

    def video(
        self, image: bytes, *, prompt: str, model: str, seconds: float, where: str, extra: Mapping[str, Any], call: Call
    ) -> bytes:
        """An animated WebP that begins with a picture."""
        ...

    def write(self, text: str, *, prompt: str, model: str, sentences: int, extra: Mapping[str, Any], call: Call) -> str:
        """A text made from another one."""
        ...


class OfflineProvider:
    """Content from installed packages alone: espeak-ng's voices, typeset posters, descriptions by metadata, and texts
    made of sentences of the given text."""

    name = "offline"
    draws = False

    def speech(
        self, text: str, *, model: str, voice: str, language: str, speed: float, extra: Mapping[str, Any], call: Call
    ) -> bytes:
        _leave_out(extra, self.name, call)
        return speak(text, voice=voice, language=language, speed=speed, timeout_s=SPEECH_TIMEOUT_S)

    def image(self, prompt: str, *, model: str, size: str, extra: Mapping[str, Any], call: Call) -> bytes:
        _leave_out(extra, self.name, call)
        return draw_poster(prompt, model=model, size=parse_size(size))

    def describe(
        self,
        image: bytes,
        *,
        media_type: str,
        prompt: str,
        model: str,
        where: str,
        extra: Mapping[str, Any],
        call: Call,
    ) -> str:
        _leave_out(extra, self.name, call)
        return describe(image, where=where)

    def video(
        self, image: bytes, *, prompt: str, model: str, seconds: float, where: str, extra: Mapping[str, Any], call: Call
    ) -> bytes:
        _leave_out(extra, self.name, call)
        return moving_poster(image, seconds=seconds, where=where)

    def write(self, text: str, *, prompt: str, model: str, sentences: int, extra: Mapping[str, Any], call: Call) -> str:
        _leave_out(extra, self.name, call)
        return " ".join(summarise(split_sentences(text), sentences=sentences))


class OpenAIProvider:
    """Any endpoint that speaks OpenAI's `/audio/speech`, `/images/generations` and `/chat/completions`.

    `models` maps the names of models in pipelines to their names at the endpoint.
    """

    name = "openai"
    draws = True

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str | None = None,
        models: Mapping[str, str] | None = None,
        timeout_s: float = 300.0,
    ) -> None:
        self._models = dict(models or {})
        self._endpoint = Endpoint(base_url, api_key=api_key, timeout_s=timeout_s)

    def speech(
        self, text: str, *, model: str, voice: str, language: str, speed: float, extra: Mapping[str, Any], call: Call
    ) -> bytes:
        chosen = self._model_name(model, "text_to_speech")
        body = {"model": chosen, "input": text, "voice": voice, "speed": speed, "response_format": "wav", **extra}
        data = self._endpoint.post_for_bytes("audio/speech", body)
        call.report_cost(chosen, characters=len(text))
        return data

    def image(self, prompt: str, *, model: str, size: str, extra: Mapping[str, Any], call: Call) -> bytes:
        parse_size(size)
        chosen = self._model_name(model, "text_to_image")
        answer: Any = self._endpoint.post(
            "images/generations", {"model": chosen, "prompt": prompt, "size": size, "n": 1, **extra}
        )
        try:
            data = base64.b64decode(answer["data"][0]["b64_json"], validate=True)
        except (binascii.Error, IndexError, KeyError, TypeError, ValueError) as error:
            url = self._endpoint.url("images/generations")
            raise FatalError(f"{url} did not answer with a picture as b64_json: {error!r}") from error
        call.report_cost(chosen, images=1)
        return data

    def describe(
        self,
        image: bytes,
        *,
        media_type: str,
        prompt: str,
        model: str,
        where: str,
        extra: Mapping[str, Any],
        call: Call,
    ) -> str:
        _leave_out(extra, self.name, call)
        asked = prompt or "Describe this picture in a few sentences."
        return ask_model(call, asked, image=(media_type, image), model=self._models.get(model, model) or None)

    def video(
        self, image: bytes, *, prompt: str, model: str, seconds: float, where: str, extra: Mapping[str, Any], call: Call
    ) -> bytes:
        raise FatalError(
            "OpenAI-compatible endpoints make no videos of pictures; write a handler for the service that "
            "does, or set BRAID_CONTENT_PROVIDER=offline for a placeholder"
        )

    def write(self, text: str, *, prompt: str, model: str, sentences: int, extra: Mapping[str, Any], call: Call) -> str:
        _leave_out(extra, self.name, call)
        asked = f"{prompt}\n\n{text}".strip() if prompt else text
        return ask_model(call, asked, model=self._models.get(model, model) or None)

    def close(self) -> None:
        self._endpoint.close()

    def _model_name(self, model: str, step: str) -> str:
        chosen = self._models.get(model, model)
        if not chosen:
            raise FatalError(f"{step}: an endpoint needs the name of a model; give the step `model`")
        return chosen


def _leave_out(extra: Mapping[str, Any], provider: str, call: Call) -> None:
    if extra:
        call.logger.warning("the provider %s takes no options %s here; they are left out", provider, ", ".join(extra))


def make_provider(
    kind: str = "offline",
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    models: Mapping[str, str] | None = None,
) -> ContentProvider:
    """The provider that settings describe.

    Raises:
        FatalError: `openai` without an endpoint.
    """
    if kind == "offline":
        return OfflineProvider()
    if base_url is None:
        raise FatalError("BRAID_CONTENT_PROVIDER is openai, so BRAID_OPENAI_BASE_URL must be the URL of the endpoint")
    return OpenAIProvider(base_url=base_url, api_key=api_key, models=models)
