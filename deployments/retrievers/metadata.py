"""The metadata of a passage, the same for every framework."""

from typing import Any

from deployments.service import Passage


def metadata_of(hit: Passage) -> dict[str, Any]:
    """Document, position and score of a passage, as plain values that every framework can store."""
    return {
        "document": hit.document,
        "document_id": hit.document_id,
        "heading": hit.heading,
        "page": hit.page,
        "start": hit.start,
        "end": hit.end,
        "score": hit.score,
        "found_by": hit.found_by,
    }
