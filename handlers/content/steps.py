"""The steps of content chains: each reads the field of one kind of content and writes another.

Options that a step does not know are passed on to the provider (`provider_options`).

The fields have the names of the kinds of data: `text`, `image`, `audio` and `video`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from flows.author import Call, handler
from flows.errors import FatalError
from handlers.content import combining as combining  # imported to register the combiners of files
from handlers.content.files import AudioFile, ImageFile, VideoFile, content_of, store_file
from handlers.content.media import image_quality, open_image, read_wav
from handlers.content.providers import ContentProvider
from handlers.content.quality import audio_quality
from handlers.options import Options, spread

_PICTURES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


def _quality(file: AudioFile | ImageFile) -> float:
    return file.quality


@dataclass(frozen=True)
class Voice(Options):
    """How a text is spoken."""

    voice: str = "default"
    language: str = "en-us"
    speed: float = 1.0


@handler(writes="audio", quality=_quality)
@spread
def text_to_speech(
    text: str,
    output_dir: str = "",
    *,
    model: str = "",
    voice: Voice,
    output_file: str = "",
    provider_options: Mapping[str, Any] | None = None,
    call: Call,
) -> AudioFile:
    """The text as speech: a WAV file below the artifacts folder."""
    provider = _provider(call)
    data = provider.speech(text, model=model, **asdict(voice), extra=provider_options or {}, call=call)
    samples, rate = read_wav(data, where=f"the answer of {provider.name}")
    if not len(samples):
        raise FatalError(f"{provider.name} answered with a sound of no length")
    about: Any = store_file(data, "audio/wav", name=output_file, folder=output_dir, call=call)
    return AudioFile(
        **about,
        provider=provider.name,
        model=model,
        text=_shortened(text),
        voice=voice.voice,
        seconds=round(len(samples) / rate, 3),
        quality=audio_quality(samples, rate),
    )


@handler(writes="image", quality=_quality)
def text_to_image(
    text: str,
    output_dir: str = "",
    *,
    model: str = "",
    size: str = "768x768",
    output_file: str = "",
    provider_options: Mapping[str, Any] | None = None,
    call: Call,
) -> ImageFile:
    """A picture of the text; offline, a placeholder (the text typeset as a poster)."""
    provider = _provider(call)
    if not text.strip():
        raise FatalError("there is nothing to draw: the text is empty")
    data = provider.image(text, model=model, size=size, extra=provider_options or {}, call=call)
    picture = open_image(data, where=f"the answer of {provider.name}")
    if picture.format not in _PICTURES:
        raise FatalError(f"{provider.name} answered with a {picture.format} picture; PNG, JPEG and WebP are kept")
    about: Any = store_file(data, _PICTURES[picture.format], name=output_file, folder=output_dir, call=call)
    return ImageFile(
        **about,
        provider=provider.name,
        model=model,
        text=_shortened(text),
        width=picture.width,
        height=picture.height,
        quality=image_quality(picture),
        placeholder=not provider.draws,
    )


@handler(writes="text")
def image_to_text(
    image: ImageFile,
    *,
    model: str = "",
    prompt: str = "",
    provider_options: Mapping[str, Any] | None = None,
    call: Call,
) -> str:
    """A description of a picture; offline only from the file's metadata, its form and colours."""
    data = content_of(image, call.services)
    return _provider(call).describe(
        data,
        media_type=image.media_type,
        prompt=prompt,
        model=model,
        where=image.uri,
        extra=provider_options or {},
        call=call,
    )


@handler(writes="text", name="image_understanding")
def understand_image(
    image: ImageFile,
    *,
    model: str = "",
    prompt: str = "",
    provider_options: Mapping[str, Any] | None = None,
    call: Call,
) -> str:
    """A description of a picture: `image_to_text` under another name."""
    return image_to_text(image, model=model, prompt=prompt, provider_options=provider_options, call=call)


@handler(writes="video")
def image_to_video(
    image: ImageFile,
    output_dir: str = "",
    *,
    model: str = "",
    prompt: str = "",
    seconds: float = 2.0,
    output_file: str = "",
    provider_options: Mapping[str, Any] | None = None,
    call: Call,
) -> VideoFile:
    """A video from a picture; offline, a placeholder (an animated WebP that zooms into the picture)."""
    provider = _provider(call)
    data = provider.video(
        content_of(image, call.services),
        prompt=prompt,
        model=model,
        seconds=seconds,
        where=image.uri,
        extra=provider_options or {},
        call=call,
    )
    moving: Any = open_image(data, where=f"the answer of {provider.name}")
    about: Any = store_file(data, "video/webp", name=output_file, folder=output_dir, call=call)
    return VideoFile(
        **about,
        provider=provider.name,
        model=model,
        text=image.text,
        width=moving.width,
        height=moving.height,
        seconds=seconds,
        placeholder=not provider.draws,
    )


@handler(writes="text")
def text_generation(
    text: str,
    *,
    prompt: str = "",
    model: str = "",
    sentences: int = 3,
    provider_options: Mapping[str, Any] | None = None,
    call: Call,
) -> str:
    """A text made from another one; offline, the `sentences` most representative sentences of it, in their order."""
    if not text.strip():
        raise FatalError("there is nothing to write about: the text is empty")
    return _provider(call).write(
        text, prompt=prompt, model=model, sentences=sentences, extra=provider_options or {}, call=call
    )


def _provider(call: Call) -> ContentProvider:
    call.check_cancelled()
    return call.services["content"]


def _shortened(text: str) -> str:
    return text if len(text) <= 500 else f"{text[:499]}…"
