"""A component of Haystack: `BraidRetriever(connect("manuals"))`."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# Its package is an optional extra.
from collections.abc import Mapping, Sequence

from haystack import Document, component

from deployments.connection import Connection
from deployments.retrievers.metadata import metadata_of


@component
class BraidRetriever:
    """The passages of an index; `connection` is what `connect` returns."""

    def __init__(
        self, connection: Connection, *, top: int = 5, filters: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._connection, self._top, self._filters = connection, top, filters

    @component.output_types(documents=list[Document])
    def run(self, query: str) -> dict[str, list[Document]]:
        answer = self._connection.search(query, top=self._top, filters=self._filters)
        found = [
            Document(id=hit.chunk_id, content=hit.text, score=hit.score, meta=metadata_of(hit)) for hit in answer.hits
        ]
        return {"documents": found}
