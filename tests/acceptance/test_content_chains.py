"""The content chains of the sources run end to end on this machine, and give files that can be heard and seen."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from flows.state import Services
from handlers.content.files import AudioFile, ImageFile, VideoFile
from tests.support.content import CHAINS, content, content_services, heard, needs_speech, run_chain, seen
from tests.support.paths import DOCS

STRATEGIES = ("collect_all", "first_success", "fastest_success", "best_quality", "combine_outputs")


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return content_services(tmp_path)


def example(name: str, strategy: str | None = None) -> str:
    text = (CHAINS / f"{name}.yaml").read_text()
    return text.replace('"collect_all"', f'"{strategy}"') if strategy else text


@needs_speech
def test_three_voices_give_three_files_that_can_be_heard(services: Services) -> None:
    result, fields = run_chain(example("multi_voice_tts_parallel"), services=services)
    assert result.status == "succeeded", result.errors
    spoken: list[AudioFile] = fields["voice_generation"]["outputs"]
    assert [file.voice for file in spoken] == ["rachel", "drew", "bella"]
    assert [file.uri.rsplit("/", 1)[1] for file in spoken] == ["voice_rachel.wav", "voice_drew.wav", "voice_bella.wav"]
    assert all(1.0 < heard(file) == pytest.approx(file.seconds, abs=0.01) for file in spoken)
    assert len({hashlib.sha256(content(file)).hexdigest() for file in spoken}) == 3
    assert set(fields["audio"].values()) == set(spoken)


def test_two_models_give_two_pictures_that_say_that_they_are_placeholders(services: Services) -> None:
    result, fields = run_chain(example("multi_model_comparison"), {"text": "A lighthouse at dawn"}, services=services)
    assert result.status == "succeeded", result.errors
    drawn: list[ImageFile] = fields["image_models"]["outputs"]
    assert [file.model for file in drawn] == ["imagen4", "flux"]
    for file in drawn:
        picture = seen(file)
        assert (picture.format, picture.size) == ("PNG", (file.width, file.height))
        assert file.placeholder
        assert picture.info["Comment"] == "PLACEHOLDER, not drawn by a model"
        assert picture.info["Title"] == "A lighthouse at dawn"
    assert drawn[0].sha256 != drawn[1].sha256


@needs_speech
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_on_voices(strategy: str, services: Services) -> None:
    result, fields = run_chain(example("multi_voice_tts_parallel", strategy), services=services)
    assert result.status in ("succeeded", "partial"), result.errors
    if strategy == "collect_all":
        assert len(fields["voice_generation"]["outputs"]) == 3
        return
    chosen: AudioFile = fields["audio"]
    seconds = heard(chosen)
    if strategy == "first_success":
        assert chosen.voice == "rachel"
    if strategy == "best_quality":
        each, _ = run_chain(example("multi_voice_tts_parallel"), services=services)
        outputs: list[AudioFile] = each.context.data["voice_generation"]["outputs"]
        assert chosen.quality == max(file.quality for file in outputs)
        assert len({file.quality for file in outputs}) > 1
    if strategy == "combine_outputs":
        each, _ = run_chain(example("multi_voice_tts_parallel"), services=services)
        outputs = each.context.data["voice_generation"]["outputs"]
        assert seconds == pytest.approx(sum(file.seconds for file in outputs) + 2 * 0.3, abs=0.05)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_on_pictures(strategy: str, services: Services) -> None:
    text = example("multi_model_comparison", strategy)
    result, fields = run_chain(text, {"text": "A lighthouse at dawn"}, services=services)
    assert result.status in ("succeeded", "partial"), result.errors
    if strategy == "collect_all":
        assert len(fields["image_models"]["outputs"]) == 2
        return
    picture = seen(fields["image"])
    if strategy == "combine_outputs":
        assert picture.size == (768, 408)
        assert fields["image"].placeholder
        assert fields["image"].model == "imagen4+flux"
    if strategy == "best_quality":
        each, _ = run_chain(example("multi_model_comparison"), {"text": "A lighthouse at dawn"}, services=services)
        assert fields["image"].quality == max(file.quality for file in each.context.data["image_models"]["outputs"])


def test_texts_are_joined(services: Services) -> None:
    text = """
prompt: "Tides rise twice a day. The moon pulls the sea. Ships wait for tides. Cats sleep. Tides and the moon go together."
steps:
  - type: parallel_group
    merge_strategy: combine_outputs
    parallel_steps:
      - {type: text_generation, params: {sentences: 1}}
      - {type: text_generation, params: {sentences: 2}}
"""
    result, fields = run_chain(text, services=services)
    assert result.status == "succeeded", result.errors
    one, _, two = fields["text"].partition("\n\n")
    assert (one.count("."), two.count(".")) == (1, 2)
    assert "Cats" not in fields["text"]


@needs_speech
def test_fan_out_and_fan_in_end_in_one_sound(services: Services) -> None:
    result, fields = run_chain(example("fan_out_fan_in"), services=services)
    assert result.status == "succeeded", result.errors
    assert len(fields["voices"]["outputs"]) == 2
    assert heard(fields["audio"]) > max(file.seconds for file in fields["voices"]["outputs"])


def test_the_better_of_two_pictures_becomes_a_video(services: Services) -> None:
    result, fields = run_chain(example("ab_test"), services=services)
    assert result.status == "succeeded", result.errors
    video: VideoFile = fields["video"]
    picture: Any = seen(video)  # pyright: ignore[reportArgumentType]
    assert (picture.format, picture.n_frames > 2, video.placeholder) == ("WEBP", True, True)
    assert video.uri.endswith("/best.webp")


@needs_speech
def test_a_batch_gives_a_file_an_input_and_none_twice(services: Services) -> None:
    text = example("batch").replace("{voice: rachel}", "{voice: rachel, output_file: poem.mp3}")
    result, fields = run_chain(text, services=services)
    assert result.status == "succeeded", result.errors
    assert [file.text for file in fields["audio"]] == ["first poem", "second poem", "third poem", "fourth poem"]
    assert len({file.uri for file in fields["audio"]}) == 4
    assert all(heard(file) > 0.3 for file in fields["audio"])


def test_the_chain_of_old_gives_one_picture_and_tells_what_is_in_it(services: Services) -> None:
    text = example("sequential") + "  - {type: image_to_text}\n"
    result, fields = run_chain(text, services=services)
    assert result.status == "succeeded", result.errors
    assert seen(fields["image"]).width == 768
    assert fields["text"].startswith("A lighthouse at dawn. A square PNG of 768 by 768 pixels")
    assert "not by a model that sees" in fields["text"]


@needs_speech
def test_the_chain_on_the_page_runs(services: Services) -> None:
    page = (DOCS / "content.md").read_text()
    result, fields = run_chain(page.split("```yaml\n")[1].split("```")[0], services=services)
    assert result.status == "succeeded", result.errors
    assert heard(fields["audio"]) > 1
    assert seen(fields["drafts"]["outputs"][0]).size == (512, 512)


def test_files_stay_below_the_artifacts(services: Services, tmp_path: Path) -> None:
    for name in ("../../x", "/etc/x", "s3://other/x"):
        text = f"prompt: x\nsteps: [{{type: text_to_image, params: {{output_file: '{name}.png'}}}}]"
        result, _ = run_chain(text, services=services)
        assert result.status == "failed"
        assert "is outside of the artifacts folder" in str(result.errors)
    result, fields = run_chain("prompt: x\noutput_dir: out/here\nsteps: [{type: text_to_image}]", services=services)
    assert result.status == "succeeded", result.errors
    assert fields["image"].uri.startswith(f"file://{tmp_path}/artifacts/default/out/here/")
