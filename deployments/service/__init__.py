"""Answers over HTTP, MCP and on a page: `braid serve`, with tokens that limit which documents each caller sees."""

from deployments.service.access import OWNER, Caller
from deployments.service.answers import (
    AskAnswer,
    Citation,
    DocumentDetail,
    DocumentPage,
    DocumentSummary,
    IndexInfo,
    IndexList,
    IngestAnswer,
    Passage,
    SearchAnswer,
    StartedRun,
)
from deployments.service.deployed import follow_run, start_run
from deployments.service.library import Library, Question, View
from deployments.service.serving import serve
from deployments.service.stdio import local_caller, serve_mcp
from deployments.service.tokens import Token, TokenFile

__all__ = [
    "OWNER",
    "AskAnswer",
    "Caller",
    "Citation",
    "DocumentDetail",
    "DocumentPage",
    "DocumentSummary",
    "IndexInfo",
    "IndexList",
    "IngestAnswer",
    "Library",
    "Passage",
    "Question",
    "SearchAnswer",
    "StartedRun",
    "Token",
    "TokenFile",
    "View",
    "follow_run",
    "local_caller",
    "serve",
    "serve_mcp",
    "start_run",
]
