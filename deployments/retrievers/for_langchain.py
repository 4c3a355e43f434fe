"""A retriever of LangChain: `BraidRetriever(connection=connect("manuals"))`."""

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from deployments.retrievers.metadata import metadata_of


class BraidRetriever(BaseRetriever):
    """The passages of an index; `connection` is what `connect` returns."""

    connection: Any
    top: int = 5
    filters: dict[str, list[str]] | None = None

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        answer = self.connection.search(query, top=self.top, filters=self.filters)
        return [Document(id=hit.chunk_id, page_content=hit.text, metadata=metadata_of(hit)) for hit in answer.hits]
