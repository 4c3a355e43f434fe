"""The quality of a sound or a picture as one number, which `best_quality` compares."""

import numpy as np

LOUDEST = 0.999
SILENCE = 0.01
"""The threshold of silence as a share of full scale; -40 dBFS."""
_WINDOW_S = 0.02
_CLIPPING_COUNTS = 10.0


def audio_quality(samples: np.ndarray, rate: int) -> float:
    """From 0 to 1: the share of windows with sound, less ten times the share of clipped samples.

    `samples` are floats in [-1, 1], shape (frames,) or (frames, channels). Silence is a window of 20 ms whose root mean
    square is below -40 dBFS.
    """
    mono = samples if samples.ndim == 1 else np.abs(samples).max(axis=1)
    if not mono.size:
        return 0.0
    size = max(1, int(rate * _WINDOW_S))
    whole = mono[: len(mono) // size * size] if len(mono) >= size else mono
    windows = whole.reshape(-1, size) if len(mono) >= size else mono[None, :]
    sounding = float((np.sqrt((windows**2).mean(axis=1)) >= SILENCE).mean())
    clipped = float((np.abs(mono) >= LOUDEST).mean())
    return round(sounding * max(0.0, 1.0 - _CLIPPING_COUNTS * clipped), 6)


def sharpness(pixels: np.ndarray) -> float:
    """The variance of the Laplacian of a grey picture: 0 for a picture of one grey, higher the more edges it has.

    `pixels` are from 0 to 255, shape (height, width); the borders do not count.
    """
    grey = pixels.astype(np.float64)
    if min(grey.shape) < 3:
        return 0.0
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4.0 * middle
    return round(float(laplacian.var()), 6)
