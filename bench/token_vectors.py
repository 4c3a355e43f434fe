"""Bytes, time and error of packed token vectors: their scores of questions and passages beside the exact ones.

    python -m bench.token_vectors [FOLDER]

Passages are stretches of 150 words of the Markdown files in FOLDER (default: docs), questions nine neighbouring words
of some. The correlation is of packed with exact scores over the passages, the mean over the questions; the overlap is
that of the best ten. Times are of the CPU; set OPENBLAS_NUM_THREADS=1.
"""

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handlers import token_vectors
from handlers.models import TokenEmbedder, make_embedder

_PASSAGES, _QUESTIONS = 150, 40


def main() -> None:
    dice = random.Random(1)
    passages = stretches(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
    passages = dice.sample(passages, min(_PASSAGES, len(passages)))
    words = [each.split() for each in dice.choices(passages, k=_QUESTIONS)]
    starts = [dice.randrange(len(each) - 9) for each in words]
    embedder = make_embedder()
    assert isinstance(embedder, TokenEmbedder)
    began = time.process_time()
    _, tokens = embedder.embed_document_tokens(passages)
    assert tokens is not None
    embedding = time.process_time() - began
    asked = [" ".join(each[at : at + 9]) for each, at in zip(words, starts, strict=True)]
    questions = [found for each in asked if (found := embedder.embed_query_tokens(each)[1]) is not None]
    exact = np.array([[(question @ each.T).max(axis=1).mean() for each in tokens] for question in questions])
    token_vectors.pack(tokens[0])
    began = time.process_time()
    packed = [token_vectors.pack(each) for each in tokens]
    packing = time.process_time() - began
    began = time.process_time()
    scores = np.array([token_vectors.late_interaction(question, packed) for question in questions], dtype=float)
    scoring = time.process_time() - began
    count = sum(map(len, tokens))
    print(f"{len(packed)} passages of {count / len(packed):.0f} tokens, {len(questions)} questions")
    print(f"bytes per token     {sum(map(len, packed)) / count:.1f}, as floats {4 * tokens[0].shape[1]}")
    print(f"correlation         {np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(exact, scores, strict=True)]):.3f}")
    print(f"of the best ten     {np.mean([overlap(*pair) for pair in zip(exact, scores, strict=True)]):.3f}")
    print(f"embedding           {embedding / len(packed) * 1e3:.1f} ms per passage")
    print(f"packing             {packing / len(packed) * 1e3:.2f} ms per passage")
    print(f"scoring             {scoring / len(questions) / len(packed) * 200e3:.1f} ms per question and 200 passages")


def stretches(folder: Path) -> list[str]:
    found: list[str] = []
    for file in sorted(folder.rglob("*.md")):
        words = file.read_text(encoding="utf-8").split()
        found += [" ".join(words[at : at + 150]) for at in range(0, len(words) - 150, 150)]
    return found


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    best = [set(np.argsort(np.negative(each))[:10].tolist()) for each in (first, second)]
    return len(best[0] & best[1]) / 10


if __name__ == "__main__":
    main()
