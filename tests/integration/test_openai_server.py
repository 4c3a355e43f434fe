"""The tests' own OpenAI-compatible server answers OpenAI's own client."""

import base64
import io
import wave
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from PIL import Image
from pydantic import BaseModel

from tests.support.openai_server import OpenAIServer


@pytest.fixture
def client(openai_server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=openai_server.base_url, api_key=openai_server.api_key, max_retries=0) as client:
        yield client


class Report(BaseModel):
    title: str
    amounts: list[int]


MESSAGE: Any = [{"role": "user", "content": "how are sales"}]


def test_chat_answers_whole_and_in_pieces(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="m", messages=MESSAGE)
    pieces = client.chat.completions.create(model="m", messages=MESSAGE, stream=True)
    assert whole.choices[0].message.content == "Answer to: how are sales"
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "Answer to: how are sales"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 8


def test_chat_gives_structured_output_and_queued_answers(client: openai.OpenAI, openai_server: OpenAIServer) -> None:
    parsed = client.chat.completions.parse(model="m", messages=MESSAGE, response_format=Report)
    assert isinstance(parsed.choices[0].message.parsed, Report)
    openai_server.reply("first", {"title": "second"})
    texts = [client.chat.completions.create(model="m", messages=MESSAGE).choices[0].message.content for _ in range(2)]
    assert texts == ["first", '{"title": "second"}']
    assert len(openai_server.asked("/chat/completions")) == 3


def test_embeddings_speech_and_images_are_real(client: openai.OpenAI) -> None:
    vectors = client.embeddings.create(model="e", input=["sales grew", "sales fell"]).data
    assert [len(one.embedding) for one in vectors] == [64, 64]
    assert sum(value * value for value in vectors[0].embedding) == pytest.approx(1.0)
    spoken = client.audio.speech.create(model="t", voice="rachel", input="good morning", response_format="wav").read()
    with wave.open(io.BytesIO(spoken)) as file:
        assert file.getnframes() > 1000
    drawn = client.images.generate(model="i", prompt="a tree", size="256x256").data
    assert drawn
    with Image.open(io.BytesIO(base64.b64decode(drawn[0].b64_json or ""))) as picture:
        assert picture.size == (256, 256)


def test_failures_come_as_ordered(client: openai.OpenAI, openai_server: OpenAIServer) -> None:
    openai_server.fail(429, retry_after="7", path="/chat/completions")
    with pytest.raises(openai.RateLimitError, match="the server is busy") as caught:
        client.chat.completions.create(model="m", messages=MESSAGE)
    assert caught.value.response.headers["retry-after"] == "7"
    assert client.chat.completions.create(model="m", messages=MESSAGE).choices


def test_a_wrong_key_is_refused(openai_server: OpenAIServer) -> None:
    with (
        openai.OpenAI(base_url=openai_server.base_url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="Incorrect API key"),
    ):
        client.models.list()
