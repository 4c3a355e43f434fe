"""An index on a running `braid serve`, asked over REST."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx

from deployments.service import AskAnswer, DocumentDetail, DocumentPage, DocumentSummary, IngestAnswer, SearchAnswer
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings
from flows.errors import OrchestrationError, TransientError

_PAGE, _EVERY_S, _TIMEOUT_S = 500, 1.0, 330.0
_TRANSIENT = (429, 503, 504)
_STATUS = {"Completed": "succeeded", "PartialSuccess": "partial"}


class RefusedCall(OrchestrationError):
    """The server answers with a problem; `status` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RemoteConnection:
    """A `Connection` to an index of a server."""

    def __init__(self, index: str, client: httpx.Client) -> None:
        self.index, self._client = index, client
        self._at = f"/api/indexes/{quote(index, safe='')}"

    @classmethod
    def to(
        cls,
        index: str,
        url: str,
        *,
        token: str | None,
        access: Mapping[str, Sequence[str]] | None,
        settings: Settings,
    ) -> "RemoteConnection":
        if access is not None:
            raise InvalidSettings(
                "a server decides by the token which documents are seen: give `access` or `url`, not both"
            )
        secret = token or (settings.token.get_secret_value() if settings.token else None)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return cls(index, httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=_TIMEOUT_S))

    def search(
        self,
        question: str,
        *,
        top: int = 5,
        filters: Mapping[str, Sequence[str]] | None = None,
        explain: bool = False,
        multi_query: bool = False,
        hyde: bool = False,
    ) -> SearchAnswer:
        asked = _asked(question, top, filters) | {"explain": explain, "multi_query": multi_query, "hyde": hyde}
        return SearchAnswer.model_validate(self._call("POST", f"{self._at}/search", asked))

    def ask(
        self,
        question: str,
        *,
        top: int = 8,
        filters: Mapping[str, Sequence[str]] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> AskAnswer:
        asked = _asked(question, top, filters)
        if on_text is None:
            return AskAnswer.model_validate(self._call("POST", f"{self._at}/ask", asked | {"stream": False}))
        for name, data in self._events("POST", f"{self._at}/ask", asked):
            if name == "text":
                on_text(data["text"])
            elif name == "answer":
                return AskAnswer.model_validate(data)
            else:
                raise _refused(data["status"], data, {})
        raise TransientError("the server's answer broke off")

    def ingest(self, source: str, **parameters: Any) -> IngestAnswer:
        started = self._call("POST", f"{self._at}/ingest", {"source": source, "parameters": parameters})
        while not started["ended"]:
            time.sleep(_EVERY_S)
            started = self._call("GET", f"/api/flow-runs/{started['flow_run_id']}")
        status = _STATUS.get(started["state"], "failed")
        return IngestAnswer(
            index=self.index, status=status, run_id=started["flow_run_id"], documents={}, message=started["message"]
        )

    def documents(self, *, status: str | None = None) -> Iterator[DocumentSummary]:
        offset, more = 0, {"status": status} if status else {}
        while True:
            given = {"limit": _PAGE, "offset": offset, **more}
            found = DocumentPage.model_validate(self._call("GET", f"{self._at}/documents", params=given)).documents
            if not found:
                return
            yield from found
            offset += len(found)

    def document(self, document: str) -> DocumentDetail:
        return DocumentDetail.model_validate(self._call("GET", f"{self._at}/documents/{quote(document)}"))

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, path: str, body: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._client.request(method, path, json=body, params=params)
        except httpx.TransportError as error:
            raise TransientError(f"{self._client.base_url}: {error or type(error).__name__}") from error
        if answer.is_error:
            raise _refused(answer.status_code, _problem(answer), answer.headers)
        return answer.json()

    def _events(self, method: str, path: str, body: Any) -> Iterator[tuple[str, Any]]:
        """The events of an answer, by name."""
        try:
            with self._client.stream(method, path, json=body) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refused(answer.status_code, _problem(answer), answer.headers)
                name = ""
                for line in answer.iter_lines():
                    field, _, value = line.partition(": ")
                    if field == "event":
                        name = value
                    elif field == "data":
                        yield name, json.loads(value)
        except httpx.TransportError as error:
            raise TransientError(f"{self._client.base_url}: {error or type(error).__name__}") from error


def _asked(question: str, top: int, filters: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    listed = {name: list(values) for name, values in (filters or {}).items()}
    return {"question": question, "top": top, "filters": listed}


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        return answer.json()
    except ValueError:
        return {"detail": f"the server answered {answer.status_code}", "cure": ""}


def _refused(status: int, problem: Mapping[str, Any], headers: Mapping[str, str]) -> OrchestrationError:
    message = f"{problem.get('detail', '')} {problem.get('cure', '')}".strip()
    if status not in _TRANSIENT:
        return RefusedCall(status, message)
    wait = headers.get("retry-after", "")
    return TransientError(message, retry_after_s=float(wait) if wait.isdigit() else None)
