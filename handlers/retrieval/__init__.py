"""Retrieval: from a question to fused, permitted, best-first hits."""

from handlers.retrieval.answering import location_of
from handlers.retrieval.comparing import run_questions, ways_of_searching
from handlers.retrieval.evaluation import InvalidJudgements, measure, read_judgements, read_queries
from handlers.retrieval.highlighting import highlights

__all__ = [
    "InvalidJudgements",
    "highlights",
    "location_of",
    "measure",
    "read_judgements",
    "read_queries",
    "run_questions",
    "ways_of_searching",
]
