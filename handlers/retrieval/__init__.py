"""Retrieval: from a question to fused, permitted, best-first hits."""

from handlers.retrieval.answering import place
from handlers.retrieval.comparing import run_questions, ways_of_searching
from handlers.retrieval.evaluation import InvalidJudgements, measure, read_judgements, read_queries
from handlers.retrieval.highlighting import highlights

__all__ = [
    "InvalidJudgements",
    "highlights",
    "measure",
    "place",
    "read_judgements",
    "read_queries",
    "run_questions",
    "ways_of_searching",
]
