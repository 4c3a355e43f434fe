"""Batches of documents: small documents fill a batch up, and a large one may have a batch of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flows.state import DiskSequence
from handlers.options import Options
from handlers.records import SourceFile

_MANY_BATCHES = 200
"""The most batches of usual size; above it, batches take more documents, since a run holds about 10 kB per batch."""
_SHARED_BY = 2
"""The least number of batches, so that two workers have work."""


@dataclass(frozen=True)
class Batching(Options):
    """The limits of one batch."""

    fill_documents: int = 64
    """The most documents of a batch of small ones."""
    fill_bytes: int = 256_000
    """A batch with this many bytes takes at most `batch_documents` documents."""
    batch_documents: int = 8
    batch_bytes: int = 4_000_000
    """The most bytes of a batch of more than one document."""

    def times(self, factor: int) -> "Batching":
        """The limits multiplied by `factor`."""
        return Batching(
            factor * self.fill_documents,
            factor * self.fill_bytes,
            factor * self.batch_documents,
            factor * self.batch_bytes,
        )


def make_batches(sources: Sequence[SourceFile], batching: Batching) -> Sequence[tuple[SourceFile, ...]]:
    """Batches in order.

    A batch ends before it would exceed `batch_bytes` or `fill_documents`. With `batch_documents` documents it also ends
    if it has, or with the next document would have, `fill_bytes`. Only a single document may be larger than
    `batch_bytes`. Up to `fill_documents` small documents are split into two batches if each then has `batch_documents`.
    """
    few = min(8 * batching.batch_documents, max(batching.batch_documents, len(sources) // _MANY_BATCHES))
    many = max(few, min(batching.fill_documents, -(-len(sources) // _SHARED_BY)))

    def is_full(batch: Sequence[SourceFile], size: int, following: SourceFile) -> bool:
        larger = size + following.size
        return (
            len(batch) >= many or larger > batching.batch_bytes or (len(batch) >= few and larger > batching.fill_bytes)
        )

    def batches() -> Iterator[tuple[SourceFile, ...]]:
        batch: list[SourceFile] = []
        size = 0
        for each in sources:
            if batch and is_full(batch, size, each):
                yield tuple(batch)
                batch, size = [], 0
            batch.append(each)
            size += each.size
        if batch:
            yield tuple(batch)

    return DiskSequence(batches())
