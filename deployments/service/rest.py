"""REST: indexes, search, ask and documents."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from deployments.service.answers import AskAnswer, DocumentDetail, DocumentPage, IndexInfo, IndexList, SearchAnswer
from deployments.service.asking import answer_events
from deployments.service.library import Question, View
from deployments.service.originals import Original
from deployments.service.problems import MEDIA_TYPE
from deployments.service.state import ServiceState, service_of, view_of

_PROBLEM: dict[str, Any] = {"description": "Problem details (RFC 9457).", "content": {MEDIA_TYPE: {}}}
router = APIRouter(prefix="/api", tags=["answers"], responses={"4XX": _PROBLEM, "5XX": _PROBLEM})
ServiceDepends = Annotated[ServiceState, Depends(service_of)]
ViewDepends = Annotated[View, Depends(view_of)]
_BLOCK = 256 * 1024


class SearchRequest(BaseModel):
    """A question to an index."""

    question: str = Field(max_length=4000, description="In plain words.")
    top: int = Field(default=5, ge=1, le=1000, description="The number of passages.")
    filters: dict[str, list[str]] = Field(
        default={}, description="Only documents with one of the values of every tag that is named here."
    )
    explain: bool = Field(default=False, description="Also the reasons for the rank of each passage.")
    multi_query: bool = Field(default=False, description="Let a language model reword the question too.")
    hyde: bool = Field(default=False, description="Let a language model invent an answer, and search near it too.")

    def asked(self) -> Question:
        return Question(self.question, self.top, self.filters, self.multi_query, self.hyde)


class AskRequest(SearchRequest):
    """A question to a language model, which is shown the passages found."""

    top: int = Field(default=8, ge=1, le=50, description="How many passages the model receives.")
    stream: bool = Field(default=True, description="Server-sent events while the answer grows; else one document.")


@router.get("/indexes")
async def list_indexes(service: ServiceDepends, view: ViewDepends) -> IndexList:
    """The indexes that have a document for the caller."""
    return await service.searching.run(view.indexes)


@router.get("/indexes/{index}")
async def show_index(index: str, service: ServiceDepends, view: ViewDepends) -> IndexInfo:
    """One index in numbers."""
    return await service.searching.run(view.index, index)


@router.post("/indexes/{index}/search")
async def search(index: str, asked: SearchRequest, service: ServiceDepends, view: ViewDepends) -> SearchAnswer:
    """The passages that answer a question, best first."""
    return await service.searching.run(view.search, index, asked.asked(), explain=asked.explain)


@router.post("/indexes/{index}/ask", response_model=AskAnswer)
async def ask(index: str, asked: AskRequest, service: ServiceDepends, view: ViewDepends) -> Any:
    """A language model's answer with numbered citations.

    As server-sent events: `text` with each part of the answer as it arrives, then one `answer`, the whole with its
    citations checked, or one `problem`. With `stream: false`, the whole as one document.
    """
    if not asked.stream:
        return await service.asking.run(view.ask, index, asked.asked())
    return StreamingResponse(answer_events(service.asking, view, index, asked.asked()), media_type="text/event-stream")


@router.get("/indexes/{index}/documents")
async def list_documents(
    index: str,
    service: ServiceDepends,
    view: ViewDepends,
    status: Annotated[
        str | None, Query(description="processed, failed, pending; of runs: processing, removed.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> DocumentPage:
    """A page of the documents by name, with the reasons of failures, and how many there are by status."""
    return await service.searching.run(view.documents, index, status=status, limit=limit, offset=offset)


@router.get("/indexes/{index}/documents/{document:path}/original")
async def original(index: str, document: str, service: ServiceDepends, view: ViewDepends) -> StreamingResponse:
    """The file that the document was made from, as it was ingested."""
    found = await service.searching.run(view.original, index, document)
    return original_response(found)


@router.get("/indexes/{index}/documents/{document:path}")
async def show_document(index: str, document: str, service: ServiceDepends, view: ViewDepends) -> DocumentDetail:
    """One document, by id or name: text, passages, tables, entities, and the reason if it failed."""
    return await service.searching.run(view.document, index, document)


def original_response(found: Original) -> StreamingResponse:
    """The file as a download: nothing in it can run as a page of this server."""

    async def content() -> AsyncIterator[bytes]:
        try:
            while block := found.file.read(_BLOCK):
                yield block
        finally:
            found.file.close()

    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}",
        "Content-Length": str(found.size),
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return StreamingResponse(content(), media_type=found.media_type, headers=headers)
