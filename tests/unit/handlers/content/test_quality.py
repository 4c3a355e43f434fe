"""The quality for `best_quality`: silence and clipping lower that of a sound, blur that of a picture."""

import numpy as np
import pytest

from handlers.content.media import read_wav, write_wav
from handlers.content.quality import audio_quality, sharpness

RATE = 8000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)


@pytest.mark.parametrize(
    ("samples", "score"),
    [
        (TONE, 1.0),
        (np.zeros(RATE), 0.0),
        (np.concatenate([TONE, np.zeros(RATE)]), 0.5),
        (np.sign(TONE), 0.0),
        (np.zeros(0), 0.0),
        (np.stack([TONE, np.zeros(RATE)], axis=1), 1.0),
    ],
    ids=["a tone", "silence", "half silent", "all clipped", "nothing", "one channel"],
)
def test_a_sound_loses_by_silence_and_clipping(samples: np.ndarray, score: float) -> None:
    assert audio_quality(samples, RATE) == pytest.approx(score, abs=0.01)


def test_a_little_clipping_costs_a_little() -> None:
    clipped = np.clip(TONE * 2.02, -1, 1)
    assert 0 < audio_quality(clipped, RATE) < audio_quality(TONE, RATE)


def test_a_blurred_picture_is_less_sharp_and_a_flat_one_not_at_all() -> None:
    sharp = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((8, 8))) * 255
    blurred = (sharp + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1) + np.roll(sharp, (1, 1), (0, 1))) / 4
    assert sharpness(sharp) > sharpness(blurred) > sharpness(np.full((64, 64), 7.0)) == 0.0


def test_a_wav_keeps_its_samples() -> None:
    samples, rate = read_wav(write_wav(TONE, RATE), where="x")
    assert rate == RATE
    assert np.abs(samples[:, 0] - TONE).max() < 1e-4
