"""Answers over HTTP, MCP and on a page: `braid serve`, with tokens that bind what each caller sees."""

from deployments.service.access import OWNER, Caller
from deployments.service.answers import (
    AskAnswer,
    DocumentDetail,
    DocumentPage,
    IndexInfo,
    IndexList,
    Passage,
    SearchAnswer,
    StartedRun,
)
from deployments.service.guards import is_loopback
from deployments.service.library import Library, Question, View
from deployments.service.tokens import Token, TokenFile

__all__ = [
    "OWNER",
    "AskAnswer",
    "Caller",
    "DocumentDetail",
    "DocumentPage",
    "IndexInfo",
    "IndexList",
    "Library",
    "Passage",
    "Question",
    "SearchAnswer",
    "StartedRun",
    "Token",
    "TokenFile",
    "View",
    "is_loopback",
]
