"""The answers of the service, which REST, MCP and Python return and commands print."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """The base of all answers: frozen, without undeclared fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Highlight(Answer):
    """A range of a passage that matches the question."""

    start: int
    end: int
    text: str


class Duplicate(Answer):
    """A near duplicate that is shown only with the best of its kind."""

    chunk_id: str
    document_id: str


class Passage(Answer):
    """One found passage."""

    rank: int = Field(description="Counted from 1; equal scores share a rank.")
    document: str
    document_id: str
    chunk_id: str
    heading: str
    page: int | None
    start: int = Field(description="First character in the text of the document.")
    end: int
    score: float
    relevance: float | None = Field(
        default=None, description="How well it answers, from 0 to 1, comparable between questions."
    )
    found_by: str
    scores: dict[str, float] = Field(description="The score that each way of searching gave it.")
    text: str
    highlights: list[Highlight]
    duplicates: list[Duplicate]


class StepError(Answer):
    """A failed step of a search in which others succeeded."""

    step: str
    message: str


class Neighbour(Answer):
    """An entity found through the graph, and the relations that lead to it."""

    entity: str
    nearness: float
    path: list[str]


class Explanation(Answer):
    """Why the passages were found: `ranks` has, per way of searching, the rank of each passage in order."""

    queries: list[str]
    entities: list[str]
    neighbourhood: list[Neighbour]
    found: dict[str, int]
    candidates: int = Field(default=0, description="Passages that were fused; `found.token` of them by their tokens.")
    ranks: list[dict[str, int | None]]


class SearchAnswer(Answer):
    """The passages that answer a question, best first."""

    question: str
    index: str
    filters: dict[str, list[str]]
    status: str
    seconds: float
    hits: list[Passage]
    nothing_found: bool = Field(default=False, description="True if the documents contain nothing about the question.")
    did_you_mean: str | None = Field(default=None, description="The question as it is spelled in the documents.")
    errors: list[StepError] = []
    cost: dict[str, float] = {}
    explanation: Explanation | None = None


class Citation(Answer):
    """A passage that supports an answer: its `number` in the answer, and its location."""

    number: int
    chunk_id: str
    document_id: str
    document: str
    heading: str
    page: int | None
    start: int
    end: int
    text: str = ""


class AskAnswer(Answer):
    """The answer of a language model, with the passages that it cites."""

    question: str
    index: str
    filters: dict[str, list[str]]
    status: str
    seconds: float
    answer: str | None
    nothing_found: bool = Field(default=False, description="True if the documents contain nothing about the question.")
    did_you_mean: str | None = Field(default=None, description="The question as it is spelled in the documents.")
    citations: list[Citation]
    unknown_citations: list[int] = Field(default=[], description="Numbers without a passage, which were removed.")
    errors: list[StepError] = []
    cost: dict[str, float] = {}


class DocumentSummary(Answer):
    """A document of an index with its status."""

    name: str
    id: str
    uri: str
    title: str
    status: str
    searchable: bool
    chunks: int
    step: str
    run_id: str
    runs: int
    reason: str = Field(description="Why it failed; empty otherwise.")
    updated: float


class DocumentPage(Answer):
    """A page of the documents, by name, and the number of documents by status."""

    index: str
    counts: dict[str, int]
    limit: int
    offset: int
    documents: list[DocumentSummary]


class DocumentPassage(Answer):
    """A passage of a document, with its position."""

    chunk_id: str
    position: int
    heading: str
    page: int | None
    start: int
    end: int
    tokens: int
    text: str


class EntityCount(Answer):
    """A named thing, and how often the document names it."""

    name: str
    kind: str
    times: int


class DocumentDetail(DocumentSummary):
    """All data of one document in the index."""

    index: str
    mime_type: str
    sha256: str
    tags: list[tuple[str, str]]
    metadata: dict[str, str]
    summary: str | None
    entities: list[EntityCount]
    artifacts: list[dict[str, Any]] = Field(description="Tables, code blocks and images.")
    passages: list[DocumentPassage]
    text: str = Field(description="The passages joined; text that two of them share appears once.")


class DocumentText(Answer):
    """A part of the text of a document, with the document's other data."""

    index: str
    id: str
    name: str
    title: str
    status: str
    reason: str
    tags: list[tuple[str, str]]
    summary: str | None
    tables: list[str] = Field(description="In Markdown.")
    text: str
    start: int
    next_start: int | None = Field(description="Where the next part begins; null after the last.")
    characters: int = Field(description="Of the whole text.")

    @classmethod
    def part_of(cls, document: DocumentDetail, start: int, most: int) -> "DocumentText":
        end = start + most
        return cls(
            index=document.index,
            id=document.id,
            name=document.name,
            title=document.title,
            status=document.status,
            reason=document.reason,
            tags=document.tags,
            summary=document.summary,
            tables=[each["content"] for each in document.artifacts if each["kind"] == "table"] if not start else [],
            text=document.text[start:end],
            start=start,
            next_start=end if end < len(document.text) else None,
            characters=len(document.text),
        )


class IndexInfo(Answer):
    """An index, limited to the documents that the caller may see."""

    index: str
    documents: int
    passages: int
    failed: int
    updated: float | None = Field(description="When a document last changed, in seconds since the epoch.")
    bytes: int | None = Field(default=None, description="Its size; only for those who see all of it.")


class IndexList(Answer):
    """The indexes that have a document for the caller."""

    indexes: list[IndexInfo]
    unusable: dict[str, str] = Field(default={}, description="Indexes that cannot be opened, with the reasons.")


class StartedRun(Answer):
    """A run of a deployment on the Prefect server."""

    flow_run_id: str
    name: str
    state: str
    ended: bool
    url: str = Field(description="Its page in Prefect's UI.")
    message: str = ""


class IngestAnswer(Answer):
    """The status of an ingestion, and the counts of new, changed and other documents, if known."""

    index: str
    status: str = Field(description="succeeded, partial (something was set aside) or failed.")
    run_id: str
    documents: dict[str, int]
    message: str = ""


class PipelineInfo(Answer):
    """A pipeline that can be run."""

    name: str
    description: str
    parameters: dict[str, dict[str, Any]]
