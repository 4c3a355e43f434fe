"""An index from Python: `connect("manuals").search("…")`, in this process or on a running `braid serve`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from deployments.remote import RemoteConnection
from deployments.running import run
from deployments.service import (
    AskAnswer,
    Caller,
    DocumentDetail,
    DocumentSummary,
    IngestAnswer,
    Library,
    Question,
    SearchAnswer,
    local_caller,
)
from deployments.settings import Settings, load_settings

Tags = Mapping[str, Sequence[str]]
_PAGE = 500


class Connection(Protocol):
    """An index for questions; safe to use from several threads, and closed at the end of a `with` block."""

    @property
    def index(self) -> str: ...

    def search(
        self,
        question: str,
        *,
        top: int = 5,
        filters: Tags | None = None,
        explain: bool = False,
        multi_query: bool = False,
        hyde: bool = False,
    ) -> SearchAnswer:
        """The passages that answer a question, best first, in `hits`.

        Only documents with one of the values of every tag in `filters` are found. With `multi_query`, a language model
        rewords the question; with `hyde`, it invents an answer. The search then uses these too.

        Raises:
            InvalidParameters: the question is empty, or `top` is below 1 or above 1000.
            UnknownName: there is no such index.
        """
        ...

    def ask(
        self,
        question: str,
        *,
        top: int = 8,
        filters: Tags | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> AskAnswer:
        """A language model's answer from the best `top` passages, with citations; `on_text` receives parts as they
        arrive.

        Raises as `search` does, and:
            InvalidSettings: no language model is configured.
        """
        ...

    def ingest(self, source: str, **parameters: Any) -> IngestAnswer:
        """Ingest the new and changed documents of a source, and wait for the end; the index is made if missing.

        `parameters` are the other ones of the pipeline `ingest`: `pattern`, `tags`, `prune` and so on.
        """
        ...

    def documents(self, *, status: str | None = None) -> Iterator[DocumentSummary]:
        """All documents by name, or those with a status: `processed`, `failed`, `pending`."""
        ...

    def document(self, document: str) -> DocumentDetail:
        """One document by id or name: text, passages, tables, and the reason if it failed.

        Raises:
            UnknownName: there is no such document.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def connect(
    index: str = "default",
    *,
    url: str | None = None,
    token: str | None = None,
    access: Tags | None = None,
    settings: Settings | None = None,
) -> Connection:
    """The index of that name, which stays loaded between questions.

    Without `url`, this process opens it with the settings of the environment, and `access` limits which documents
    exist: those with one of the values of each tag. With `url`, a running `braid serve` answers, and `token`
    (default: BRAID_TOKEN) decides which documents are seen.

    Raises:
        InvalidSettings: a setting cannot be used, or both `url` and `access` are given.
    """
    chosen = settings or load_settings()
    if url is None:
        caller = Caller("python", tags=access) if access is not None else local_caller(chosen)
        return LocalConnection(index, chosen, caller)
    return RemoteConnection.to(index, url, token=token, access=access, settings=chosen)


class LocalConnection:
    """A `Connection` in this process."""

    def __init__(self, index: str, settings: Settings, caller: Caller) -> None:
        self.index, self._settings = index, settings
        self._library = Library(settings)
        self._view = self._library.seen_by(caller)

    def search(
        self,
        question: str,
        *,
        top: int = 5,
        filters: Tags | None = None,
        explain: bool = False,
        multi_query: bool = False,
        hyde: bool = False,
    ) -> SearchAnswer:
        asked = Question(question, top, filters or {}, multi_query, hyde)
        return self._view.search(self.index, asked, explain=explain)

    def ask(
        self,
        question: str,
        *,
        top: int = 8,
        filters: Tags | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> AskAnswer:
        return self._view.ask(self.index, Question(question, top, filters or {}), on_text=on_text)

    def ingest(self, source: str, **parameters: Any) -> IngestAnswer:
        self._view.caller.require_ingest()
        result = run("ingest", {**parameters, "source": source}, index=self.index, settings=self._settings)
        changes = result.context.data.get("changes") or {}
        return IngestAnswer(
            index=self.index,
            status=result.status,
            run_id=result.run_id,
            documents={name: number for name, number in changes.items() if number},
            message="; ".join(outcome.error.message for outcome in result.errors if outcome.error),
        )

    def documents(self, *, status: str | None = None) -> Iterator[DocumentSummary]:
        offset = 0
        while found := self._view.documents(self.index, status=status, limit=_PAGE, offset=offset).documents:
            yield from found
            offset += len(found)

    def document(self, document: str) -> DocumentDetail:
        return self._view.document(self.index, document)

    def close(self) -> None:
        self._library.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
