"""A retriever of LlamaIndex: `BraidRetriever(connect("manuals"))`."""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# Its package is an optional extra.
from collections.abc import Mapping, Sequence

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from deployments.connection import Connection
from deployments.retrievers.metadata import metadata_of


class BraidRetriever(BaseRetriever):
    """The passages of an index; `connection` is what `connect` returns."""

    def __init__(
        self, connection: Connection, *, top: int = 5, filters: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        super().__init__()
        self._connection, self._top, self._filters = connection, top, filters

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        answer = self._connection.search(query_bundle.query_str, top=self._top, filters=self._filters)
        return [
            NodeWithScore(node=TextNode(id_=hit.chunk_id, text=hit.text, metadata=metadata_of(hit)), score=hit.score)
            for hit in answer.hits
        ]
