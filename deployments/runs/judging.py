"""Compares two versions of an index on judged questions, before the new one becomes active."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.runs.versions import for_a_question
from deployments.setting_values import index_name
from deployments.settings import Settings
from flows.author import Call
from flows.state import Identity, Services

MEASURE = "ndcg@10"
LEEWAY = 0.005
"""The tolerated loss: with some hundred questions, equally good models differ by this much."""


@dataclass(frozen=True)
class Comparison:
    """The nDCG@10 of two versions on the judged questions of an index."""

    questions: int
    before: float
    after: float

    @property
    def is_worse(self) -> bool:
        return self.after < self.before - LEEWAY

    def __str__(self) -> str:
        return f"nDCG@10 {self.after:.3f} after {self.before:.3f} on {self.questions} judged questions"


def judged_files(settings: Settings, index: str) -> tuple[Path, Path] | None:
    """The judged questions of an index and their judgements, if they are in the folder of the setting."""
    folder = settings.judged_folder / index_name(index)
    found = [next(iter(sorted(folder.glob(f"{name}.*"))), None) for name in ("queries", "qrels")]
    queries, qrels = found
    return None if queries is None or qrels is None else (queries, qrels)


def compare_versions(settings: Settings, services: Services, index: str, before: str, after: str) -> Comparison | None:
    """Two versions of an index on its judged questions; `None` if it has none.

    Raises:
        InvalidJudgements: they cannot be read, or no question is judged.
    """
    files = judged_files(settings, index)
    if files is None:
        return None
    from handlers.retrieval import InvalidJudgements, read_judgements, read_queries

    questions, judged = read_queries(files[0]), read_judgements(files[1])
    asked = {name: text for name, text in questions.items() if name in judged}
    if not asked:
        raise InvalidJudgements(f"no id of {files[0]} is judged in {files[1]}; both must use the same ids")
    figures = [_figure(services, f"{index_name(index)}@{version}", asked, judged) for version in (before, after)]
    return Comparison(len(asked), *figures)


def _figure(
    services: Services, index: str, asked: Mapping[str, str], judged: Mapping[str, Mapping[str, float]]
) -> float:
    from handlers.retrieval import DEFAULT, judged_name_of, measure, run_questions, ways_of_searching

    identity = Identity(index=index_name(index), services=for_a_question(services, index))
    run = run_questions(ways_of_searching(Call(identity=identity))[DEFAULT], asked)
    name: Any = judged_name_of(judged)
    return measure(run.documents(name), {each: judged[each] for each in asked})[MEASURE]
