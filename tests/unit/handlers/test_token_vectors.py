"""Packed token vectors: close to exact scores, the same in every store, and no scores from foreign bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.token_vectors import late_interaction, pack


def some_tokens(seed: int, count: int, dim: int = 384, common: float = 1.0) -> np.ndarray:
    """Vectors of length 1 with something in common, as the tokens of a text have it."""
    dice = np.random.default_rng(seed)
    made = dice.normal(size=(count, dim)) + common * dice.normal(size=dim)
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def exact(question: np.ndarray, tokens: np.ndarray) -> float:
    return float((question @ tokens.T).max(axis=1).mean())


@given(seed=st.integers(0, 10**6), count=st.integers(1, 60), dim=st.sampled_from([3, 8, 100, 384, 768]))
def test_scores_are_near_to_the_exact_ones(seed: int, count: int, dim: int) -> None:
    tokens, question = some_tokens(seed, count, dim), some_tokens(seed + 1, 5, dim)
    question[0] = tokens[0]
    packed = pack(tokens)
    assert len(packed) == 5 + dim + count * (1 + -(-min(dim, 256) // 8))
    [score] = late_interaction(question, [packed])
    assert score == pytest.approx(exact(question, tokens), abs=2 / min(dim, 256) ** 0.5 + 0.01)


def test_they_rank_passages_as_exact_scores_do() -> None:
    passages = [some_tokens(seed, 40, common=0.5 + seed % 7 / 4) for seed in range(60)]
    question = np.concatenate([passages[7][:4], some_tokens(99, 4)])
    scores = late_interaction(question, [pack(each) for each in passages])
    assert np.corrcoef(scores, [exact(question, each) for each in passages])[0, 1] > 0.97  # pyright: ignore
    assert max(range(60), key=lambda at: scores[at] or 0) == 7


def test_a_score_depends_on_its_own_passage_alone() -> None:
    packed, question = [pack(some_tokens(seed, 30 + seed)) for seed in range(9)], some_tokens(50, 7)
    together = late_interaction(question, packed)
    assert together == [late_interaction(question, [each])[0] for each in packed]
    assert late_interaction(question, packed[::-1]) == together[::-1]


def test_foreign_bytes_have_no_score() -> None:
    packed = pack(some_tokens(1, 4))
    of_another_format = b"\x09" + packed[1:]
    assert late_interaction(some_tokens(2, 3), [b"", packed[:-1], packed[:200], of_another_format]) == [None] * 4
    assert late_interaction(some_tokens(2, 3, 64), [packed]) == [None]
    assert late_interaction(np.zeros((0, 384), np.float32), [packed]) == [None]
    assert pack(np.zeros((0, 384), np.float32)) == b""


def test_bytes_are_the_same_in_every_process() -> None:
    """They are compared with those of other machines when indexes are."""
    tokens = np.eye(4, dtype=np.float32)
    assert pack(tokens).hex() == "010402013b7f7f7f7f6e6e6e6e5000b0c0"
