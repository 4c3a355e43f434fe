"""Vectors of length one, so that inner products are cosines."""

import numpy as np


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows scaled to L2 norm 1, float32; a row of zeros stays unchanged."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(np.float32)
