"""The pages: search, ask, indexes, documents, signing in, and the reference of REST."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from deployments.screen import read_runs
from deployments.service.answers import DocumentDetail, IndexInfo, SearchAnswer
from deployments.service.gate import COOKIE, SIGN_IN
from deployments.service.guards import address_in
from deployments.service.library import Question, View
from deployments.service.pieces import outline, pieces
from deployments.service.problems import NotHere
from deployments.service.prose import table, wanted_terms
from deployments.service.reference import reference
from deployments.service.rendering import render, to
from deployments.service.rest import ServiceDepends, ViewDepends
from deployments.service.shown import WAYS, Facet, ShownHit, address_of, facets, shown_hits
from deployments.service.state import ServiceState, caller_of
from flows.errors import UnknownName
from handlers.tags import read_tags

router = APIRouter(include_in_schema=False)
TagsQuery = Annotated[list[str], Query(alias="tag")]
_DOCUMENTS, _RUNS, _SOURCES_OF = 50, 8, 200
_STEP, _MOST = 10, 100


@router.get("/")
async def search_page(
    request: Request,
    service: ServiceDepends,
    view: ViewDepends,
    tags: TagsQuery = [],  # noqa: B006 (FastAPI copies it)
    q: str = "",
    index: str = "",
    top: Annotated[int, Query(ge=1, le=_MOST)] = _STEP,
) -> Response:
    indexes, index = await _indexes(service, view, index)
    answer: SearchAnswer | None = None
    found: list[ShownHit] = []
    listed: list[Facet] = []
    if q.strip() and index:
        question = Question(q, top, read_tags(tags))
        answer = await service.searching.run(view.search, index, question, explain=True)
        by_document = await service.searching.run(view.tags, index, [hit.document_id for hit in answer.hits])
        found = shown_hits(answer, by_document)
        listed = facets(by_document.values(), tags, index=index, q=q)
    elif index:
        listed = facets(await service.searching.run(view.some_tags, index), tags, index=index, q=q)
    has_more = len(found) == top < _MOST
    return render(
        request,
        "search.html",
        here="search",
        q=q,
        index=index,
        indexes=indexes,
        tags=tags,
        facets=listed,
        answer=answer,
        hits=found,
        more=to("/", index=index, q=q, tag=tags, top=min(_MOST, top + _STEP)) if has_more else "",
        ways=[(way, WAYS[way]) for way in ("vector", "keyword", "exact")],
        labels=WAYS,
        has_chat=_has_chat(service),
        may_upload=_may_upload(request, service),
    )


@router.get("/ask")
async def ask_page(
    request: Request,
    service: ServiceDepends,
    view: ViewDepends,
    tags: TagsQuery = [],  # noqa: B006 (FastAPI copies it)
    q: str = "",
    index: str = "",
) -> Response:
    indexes, index = await _indexes(service, view, index)
    filters = read_tags(tags)
    return render(
        request,
        "ask.html",
        here="ask",
        q=q if q.strip() and index else "",
        index=index,
        indexes=indexes,
        tags=tags,
        filters=filters,
        has_chat=_has_chat(service),
    )


@router.get("/indexes")
async def indexes_page(request: Request, service: ServiceDepends, view: ViewDepends) -> Response:
    listed = await service.searching.run(view.indexes)
    return render(
        request,
        "indexes.html",
        here="indexes",
        indexes=listed.indexes,
        unusable=listed.unusable,
        runs=await _runs(request, service),
    )


@router.get("/indexes/{index}")
async def index_page(
    request: Request,
    index: str,
    service: ServiceDepends,
    view: ViewDepends,
    status: str | None = None,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    may_upload = _may_upload(request, service)
    try:
        info = await service.searching.run(view.index, index)
    except UnknownName:
        if not may_upload:
            raise
        return render(
            request,
            "index.html",
            here="indexes",
            index=index,
            info=None,
            page=None,
            sources=[],
            runs=None,
            may_upload=True,
            most_mb=service.settings.serve_upload_mb,
        )
    page = await service.searching.run(view.documents, index, status=status, limit=_DOCUMENTS, offset=offset)
    every = sum(page.counts[name] for name in ("processed", "failed", "pending"))
    tabs = [("all", every), *((name, count) for name, count in page.counts.items() if count and name != "searchable")]
    here = f"/indexes/{quote(index)}"
    total = page.counts.get(status, every) if status else every
    return render(
        request,
        "index.html",
        here="indexes",
        index=index,
        info=info,
        page=page.model_copy(update={"documents": [_with_address(each, index) for each in page.documents]}),
        tabs=tabs,
        chosen=status,
        before=to(here, status=status, offset=max(0, offset - _DOCUMENTS)) if offset else "",
        after=to(here, status=status, offset=offset + _DOCUMENTS) if offset + _DOCUMENTS < total else "",
        sources=await _sources(request, service, view, index),
        runs=await _runs(request, service, index),
        may_upload=may_upload,
        most_mb=service.settings.serve_upload_mb,
    )


@router.get("/indexes/{index}/documents/{document:path}")
async def document_page(
    request: Request,
    index: str,
    document: str,
    service: ServiceDepends,
    view: ViewDepends,
    passage: str = "",
    q: str = "",
) -> Response:
    found: DocumentDetail = await service.searching.run(view.document, index, document)
    wanted = wanted_terms(q)
    return render(
        request,
        "document.html",
        here="indexes",
        index=index,
        q=q,
        document=found,
        pieces=pieces(found.passages, wanted, chosen=passage),
        outline=outline(found.passages),
        tables=[table(each["content"], wanted) for each in found.artifacts if each["kind"] == "table"],
    )


@router.get("/docs")
async def reference_page(request: Request) -> Response:
    return render(request, "reference.html", groups=reference(request.app.openapi()))


@router.get(SIGN_IN)
async def sign_in_page(request: Request, next: str = "/") -> Response:
    return render(request, "sign_in.html", next=_own(next), wrong=False)


@router.post(SIGN_IN)
async def sign_in(request: Request, service: ServiceDepends) -> Response:
    """Store the token in a cookie that scripts cannot read and that is sent only to this server."""
    sent = parse_qs((await request.body()).decode("utf-8", "replace"))
    token, following = (sent.get(name, [""])[0].strip() for name in ("token", "next"))
    if service.tokens.caller(token) is None:
        service.wrong_tokens.check(address_in(request.scope))
        return render(request, "sign_in.html", status=401, next=_own(following), wrong=True)
    answer = RedirectResponse(_own(following), status_code=303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return answer


@router.post("/sign-out")
async def sign_out() -> Response:
    answer = RedirectResponse("/", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


def _own(address: str) -> str:
    """The address, if it is on this server."""
    inside = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if inside else "/"


async def _indexes(service: ServiceState, view: View, index: str) -> tuple[list[IndexInfo], str]:
    """The available indexes, and the chosen one (by default the first)."""
    found = (await service.searching.run(view.indexes)).indexes
    names = [each.index for each in found]
    if index and index not in names:
        raise NotHere(f"there is no index {index!r}")
    return found, index or next(iter(names), "")


def _has_chat(service: ServiceState) -> bool:
    return bool(service.settings.chat_model and service.settings.openai_base_url)


def _may_upload(request: Request, service: ServiceState) -> bool:
    caller = caller_of(request)
    return caller.may_ingest and caller.sees_everything and service.settings.serve_upload_mb > 0


async def _runs(request: Request, service: ServiceState, index: str | None = None) -> Sequence[Any] | None:
    """The latest runs; None if the caller may not see runs."""
    if not caller_of(request).sees_everything:
        return None
    limit = _RUNS if index is None else _SOURCES_OF
    found = await service.searching.run(read_runs, service.library.warm.runs, pipeline=None, limit=limit)
    return [run for run in found if index in (None, run.index)][:_RUNS]


async def _sources(request: Request, service: ServiceState, view: View, index: str) -> list[dict[str, Any]]:
    """The sources of an index, newest first, each with the status of the run that listed it last."""
    if not caller_of(request).sees_everything:
        return []
    found = await service.searching.run(view.sources, index)
    runs = service.library.warm.runs
    by_run = {run: await service.searching.run(runs.get, run) for run in {each["run_id"] for each in found}}
    shown = [each | {"status": known.status if (known := by_run[each["run_id"]]) else ""} for each in found]
    return sorted(shown, key=lambda each: -each["updated_at"])


def _with_address(document: Any, index: str) -> Any:
    return {**document.model_dump(), "href": address_of(index, document.id)}
