"""All indexes of the settings, kept loaded; callers access them only through a `View` of the permitted documents."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from deployments.catalog import Catalog, load_catalog
from deployments.freshness import freshness_by_place
from deployments.indexes import index_names
from deployments.runs import Searches, checked_question, require_chat
from deployments.screen import errors_json, explanation, found_json
from deployments.service.access import Caller
from deployments.service.answers import (
    AskAnswer,
    Citation,
    DocumentDetail,
    DocumentPage,
    DocumentPassage,
    DocumentSummary,
    IndexInfo,
    IndexList,
    SearchAnswer,
    StepError,
)
from deployments.service.originals import Original, open_original
from deployments.service.streaming import StreamingChat
from deployments.service.visible import PermittedDocuments
from deployments.service.warm import WarmIndexes
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings
from flows.author import RunResult
from flows.errors import FatalError, OrchestrationError, TransientError, UnknownName
from flows.state import Services
from handlers.tags import TagFilter

Filters = Mapping[str, Sequence[str]]


class SearchFailed(FatalError):
    """All ways of searching failed; the message has the reason of each."""


class Library:
    """The settings, the catalog and the open indexes of a process; safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.warm = WarmIndexes(settings)

    @cached_property
    def catalog(self) -> Catalog:
        return load_catalog(self.settings)

    @cached_property
    def searches(self) -> Searches:
        return Searches(self.settings, self.catalog)

    def seen_by(self, caller: Caller) -> "View":
        return View(self, caller)

    def close(self) -> None:
        self.warm.close()


@dataclass(frozen=True)
class Question:
    """A question to an index, with its options."""

    text: str
    top: int
    filters: Filters = field(default_factory=dict[str, Sequence[str]])
    multi_query: bool = False
    hyde: bool = False

    def parameters(self, caller: Caller) -> dict[str, object]:
        """The parameters of a search pipeline; the only place that sets the tags of the caller."""
        TagFilter.of(self.filters)
        return {
            "query": checked_question(self.text),
            "top_k": self.top,
            "access": caller.access,
            "filters": self.chosen,
            "multi_query": self.multi_query,
            "hyde": self.hyde,
        }

    @property
    def chosen(self) -> dict[str, list[str]]:
        return {name: list(values) for name, values in self.filters.items()}


@dataclass(frozen=True)
class View:
    """The indexes as seen by one caller; documents that their tags exclude do not exist in it."""

    library: Library
    caller: Caller

    def search(self, index: str, question: Question, *, explain: bool = False) -> SearchAnswer:
        """The passages that answer a question.

        Raises:
            InvalidParameters: the question is empty, or `top` is out of range.
            InvalidTag: a filter names a tag that no document can have.
            SearchFailed: all ways of searching failed.
            UnknownName: there is no such index.
        """
        if question.multi_query or question.hyde:
            require_chat(self.library.settings)
        with self._opened(index) as services:
            result = self._run("search", index, question, services, explain=explain)
        hits = list(result.context.data.get("results", ()))
        return SearchAnswer.model_validate(
            {
                "question": question.text,
                "index": index,
                "filters": question.chosen,
                "status": result.status,
                "seconds": result.seconds,
                **found_json(result.context.data),
                "errors": errors_json(result),
                "cost": result.cost,
                "explanation": explanation(result.context.data, hits) if explain else None,
            }
        )

    def ask(self, index: str, question: Question, *, on_text: Callable[[str], None] | None = None) -> AskAnswer:
        """A language model's answer from the passages found; `on_text` gets its parts as they arrive.

        The numbers of citations are checked at the end, so the final text may differ from the joined parts.

        Raises as `search` does, and:
            InvalidSettings: no language model is configured.
        """
        require_chat(self.library.settings)
        with self._opened(index) as services:
            if on_text is not None:
                services = services.sharing({"chat": StreamingChat(services["chat"], on_text)})
            result = self._run("ask", index, question, services)
        answer, found = result.context.data.get("answer"), found_json(result.context.data)
        shown = list(result.context.data.get("results", ()))
        return AskAnswer(
            question=question.text,
            index=index,
            filters=question.chosen,
            status=result.status,
            seconds=result.seconds,
            nothing_found=found["nothing_found"],
            did_you_mean=found["did_you_mean"],
            answer=answer.text if answer else None,
            citations=[
                Citation(**asdict(each), text=shown[each.number - 1].content if each.number <= len(shown) else "")
                for each in (answer.citations if answer else ())
            ],
            unknown_citations=list(answer.unknown) if answer else [],
            errors=[StepError.model_validate(each) for each in errors_json(result)],
            cost=dict(result.cost),
        )

    def indexes(self) -> IndexList:
        """The indexes with a visible document for the caller; callers who see everything also get empty ones.

        Raises:
            InvalidSettings: the indexes cannot be listed.
        """
        names = index_names(self.library.settings)
        if names is None:
            raise InvalidSettings("indexes in memory cannot be listed; set BRAID_INDEX_URL to files or to PostgreSQL")
        found: list[IndexInfo] = []
        unusable: dict[str, str] = {}
        for name in names:
            try:
                found.append(self.index(name))
            except UnknownName:
                continue
            except OrchestrationError as error:
                if self.caller.sees_everything:
                    unusable[name] = str(error)
        return IndexList(indexes=found, unusable=unusable)

    def index(self, name: str) -> IndexInfo:
        """One index in numbers.

        Raises:
            UnknownName: it does not exist, or has no visible document for the caller.
        """
        with self._documents(name) as documents:
            return documents.summary()

    def documents(self, index: str, *, status: str | None = None, limit: int = 50, offset: int = 0) -> DocumentPage:
        """A page of the documents by name, and the number of documents by status.

        Raises:
            UnknownName: there is no such index.
        """
        with self._documents(index) as documents:
            found = documents.page(status=status, limit=limit, offset=offset)
            return DocumentPage(
                index=index,
                counts=documents.counts(),
                limit=limit,
                offset=offset,
                documents=[DocumentSummary.model_validate(asdict(each)) for each in found],
            )

    def document(self, index: str, document: str) -> DocumentDetail:
        """Everything in the index about a document, by its id or name.

        Raises:
            UnknownName: there is no such document for the caller.
        """
        with self._documents(index) as documents:
            described = documents.described(document)
        passages = [DocumentPassage.model_validate(each) for each in described["passages"]]
        return DocumentDetail.model_validate({**described, "index": index, "text": _joined(passages)})

    def tags(self, index: str, documents: Sequence[str]) -> dict[str, tuple[tuple[str, str], ...]]:
        """The tags of the given documents, by id, without documents that the caller may not see."""
        with self._documents(index) as found:
            return found.tags(documents)

    def some_tags(self, index: str) -> list[tuple[tuple[str, str], ...]]:
        """The tags of the first visible documents by name."""
        with self._documents(index) as found:
            return list(found.first_tags().values())

    def sources(self, index: str) -> list[dict[str, Any]]:
        """The sources of an index: time and run of the last listing, and the outcomes of its objects.

        Raises:
            Forbidden: the caller does not see everything.
        """
        self.caller.require_everything("sources")
        with self._documents(index) as found:
            records = found.table.sources()
        fresh = freshness_by_place(self.library.settings, index, records)
        return [{**asdict(each), "freshness": fresh.get((each.uri, each.pattern))} for each in records]

    def original(self, index: str, document: str) -> Original:
        """The file that the document was made from, as it was ingested; the caller closes it.

        Raises:
            OrchestrationError: the file is gone, has changed since, or is too large.
            UnknownName: there is no such document for the caller.
        """
        with self._documents(index) as documents, self.library.warm.services(index) as services:
            described, roots = documents.described(document), [each.uri for each in documents.table.sources()]
            with closing(services["sources"].anew()) as sources:
                return open_original(described, sources, roots)

    @contextmanager
    def _opened(self, index: str) -> Generator[Services]:
        """The services of an index, if the caller may know of it."""
        if not self.caller.sees_everything:
            with self._documents(index):
                pass
        with self.library.warm.services(index) as services:
            yield services

    def _documents(self, index: str) -> AbstractContextManager[PermittedDocuments]:
        return PermittedDocuments.opened(self.library.warm, index, self.caller)

    def _run(self, pipeline: str, index: str, question: Question, services: Services, **more: object) -> RunResult:
        parameters = question.parameters(self.caller) | more
        result = self.library.searches.run(pipeline, parameters, index=index, services=services)
        if result.status == "failed":
            failures = [outcome.error for outcome in result.errors if outcome.error]
            message = "; ".join(dict.fromkeys(error.message for error in failures)) or "the search failed"
            passing = bool(failures) and all(each.transient for each in failures)
            raise TransientError(message) if passing else SearchFailed(message)
        return result


def _joined(passages: Sequence[DocumentPassage]) -> str:
    """The text of a document, joined from its passages: shared text appears once, gaps become empty lines."""
    parts: list[str] = []
    end = 0
    for each in sorted(passages, key=lambda passage: (passage.start, passage.end)):
        if each.end <= end:
            continue
        if parts and each.start > end:
            parts.append("\n\n")
        parts.append(each.text[max(0, end - each.start) :])
        end = each.end
    return "".join(parts)
