"""Content steps at an OpenAI-compatible endpoint: requests, costs and errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.state import Services
from handlers.content import make_provider
from handlers.content.files import AudioFile
from handlers.content.providers import OpenAIProvider
from handlers.models import ChatModel
from tests.support.content import CHAINS, content_services, heard, run_chain, seen
from tests.support.openai_server import OpenAIServer


@pytest.fixture
def services(tmp_path: Path, openai_server: OpenAIServer) -> Iterator[Services]:
    at: Any = {"base_url": openai_server.base_url, "api_key": openai_server.api_key}
    provider = OpenAIProvider(**at, models={"elevenlabs": "tts-1", "flux": "gpt-image-1", "": "gpt-image-1"})
    chosen = content_services(tmp_path, provider, ChatModel("small", **at))
    yield chosen
    chosen.close()


def test_the_voices_of_a_chain_are_spoken_by_the_endpoint(services: Services, openai_server: OpenAIServer) -> None:
    result, fields = run_chain((CHAINS / "multi_voice_tts_parallel.yaml").read_text(), services=services)
    assert result.status == "succeeded", result.errors
    spoken: list[AudioFile] = fields["voice_generation"]["outputs"]
    assert all(heard(file) > 0.5 for file in spoken)
    assert {file.provider for file in spoken} == {"openai"}
    asked = openai_server.asked("/audio/speech")
    assert {body["voice"] for body in asked} == {"rachel", "drew", "bella"}
    assert {body["model"] for body in asked} == {"tts-1"}
    assert result.cost["characters"] == 3 * len("Welcome to our AI platform")


def test_a_picture_is_drawn_and_looked_at(services: Services, openai_server: OpenAIServer) -> None:
    text = """
prompt: a tree
steps:
  - {type: text_to_image, model: flux, params: {size: 256x256}}
  - {type: image_to_text, params: {prompt: What is this}}
  - {type: text_generation, params: {prompt: Shorter}}
"""
    result, fields = run_chain(text, services=services)
    assert result.status == "succeeded", result.errors
    assert not fields["image"].placeholder
    assert seen(fields["image"]).size == (256, 256)
    assert openai_server.prompts[0] == "What is this [PNG image of 256 by 256 pixels]"
    assert openai_server.prompts[1] == f"Shorter\n\nAnswer to: {openai_server.prompts[0]}"
    assert fields["text"] == f"Answer to: {openai_server.prompts[1]}"
    assert result.cost["images"] == 1


def test_a_busy_endpoint_is_asked_again_and_a_refusal_is_not(services: Services, openai_server: OpenAIServer) -> None:
    text = "prompt: a tree\nsteps: [{type: text_to_image, model: flux, retry_count: 1}]"
    openai_server.fail(429, retry_after="0")
    result, _ = run_chain(text, services=services)
    assert (result.status, result.outcomes[0].attempts) == ("succeeded", 2)
    openai_server.fail(400, times=9, message="not such a picture")
    result, _ = run_chain(text, services=services)
    assert result.outcomes[0].attempts == 1
    assert result.outcomes[0].error is not None
    assert "images/generations answered 400" in result.outcomes[0].error.message
    assert "not such a picture" in result.outcomes[0].error.message


def test_an_endpoint_must_be_told() -> None:
    with pytest.raises(Exception, match="BRAID_OPENAI_BASE_URL must be the URL"):
        make_provider("openai")
