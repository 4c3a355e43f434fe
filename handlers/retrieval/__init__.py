"""Retrieval: from a question to fused, permitted, best-first hits."""

from handlers.retrieval.answering import location_of
from handlers.retrieval.comparing import DEFAULT, run_questions, ways_of_searching
from handlers.retrieval.evaluation import InvalidJudgements, judged_name_of, measure, read_judgements, read_queries
from handlers.retrieval.fusion import shared_ranks
from handlers.retrieval.highlighting import highlights

__all__ = [
    "DEFAULT",
    "InvalidJudgements",
    "highlights",
    "judged_name_of",
    "location_of",
    "measure",
    "read_judgements",
    "read_queries",
    "run_questions",
    "shared_ranks",
    "ways_of_searching",
]
