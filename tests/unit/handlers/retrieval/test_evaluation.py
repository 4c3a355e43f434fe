"""Measures against values that are known, and the files they are computed from."""

from math import log2
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.records import Hit
from handlers.retrieval import InvalidJudgements, measure, read_judgements, read_queries, run_questions
from handlers.retrieval.evaluation import ndcg, recall, reciprocal_rank

# The worked example of Järvelin & Kekäläinen's measure in common textbooks: gains 3, 2, 3, 0, 1, 2 of D1 to D6, and D7
# and D8 with 3 and 2 not found. DCG is 6.861, the ideal 8.740, nDCG 0.785.
GAINS = {"D1": 3.0, "D2": 2.0, "D3": 3.0, "D4": 0.0, "D5": 1.0, "D6": 2.0, "D7": 3.0, "D8": 2.0}
RANKED = ["D1", "D2", "D3", "D4", "D5", "D6"]


def test_ndcg_of_the_textbook() -> None:
    assert ndcg(RANKED, GAINS, at=6) == pytest.approx(0.785, abs=5e-4)
    assert ndcg(sorted(GAINS, key=lambda name: -GAINS[name]), GAINS) == 1.0
    assert ndcg(["x", "D1"], {"D1": 1.0, "D2": -1.0}) == pytest.approx(1 / log2(3))
    assert ndcg(RANKED, {}) == ndcg([], GAINS) == 0.0


def test_recall_and_reciprocal_rank() -> None:
    assert recall(RANKED, GAINS) == 5 / 7
    assert recall(RANKED, GAINS, at=2) == 2 / 7
    assert recall(RANKED, {"D4": 0.0}) == 0.0
    assert [reciprocal_rank(order, {"b": 2.0}) for order in (["b"], ["a", "b"], ["a"], [])] == [1.0, 0.5, 0.0, 0.0]


def test_means_are_over_questions_that_can_be_answered() -> None:
    judged = {"q1": {"a": 1.0}, "q2": {"b": 1.0}, "q3": {"c": 0.0}}
    assert measure({"q1": ["x", "a"], "q3": ["c"]}, judged) == pytest.approx(
        {"ndcg@10": 1 / log2(3) / 2, "recall@10": 0.5, "recall@100": 0.5, "mrr": 0.25}
    )
    assert set(measure({}, {"q": {}}).values()) == {0.0}


names = st.sampled_from("abcdefgh")


@given(st.lists(names, unique=True), st.dictionaries(names, st.integers(0, 3).map(float)))
def test_measures_lie_between_0_and_1_and_the_ideal_order_is_best(ranked: list[str], gains: dict[str, float]) -> None:
    ideal = sorted(gains, key=lambda name: -gains[name])
    for measured in (ndcg, recall, reciprocal_rank):
        assert 0.0 <= measured(ranked, gains) <= measured(ideal, gains) <= 1.0


def test_queries_are_read_from_json_lines_and_tables(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.write_text('{"_id": "1", "text": "why?"}\n\n{"id": 2, "query": "how?"}\n')
    assert read_queries(path) == {"1": "why?", "2": "how?"}
    path.write_text("\ufeffquery-id\ttext\n1\twhy?\n2\t如何?\n", encoding="utf-8")
    assert read_queries(path) == {"1": "why?", "2": "如何?"}


def test_judgements_are_read_as_trec_and_beir_write_them(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    path.write_text("1 0 a 2\n1 0 b 0\n2\t0\ta\t1\n")
    assert read_judgements(path) == {"1": {"a": 2.0, "b": 0.0}, "2": {"a": 1.0}}
    path.write_text("query-id\tcorpus-id\tscore\tnote\n1\ta name\t2\tx\n")
    assert read_judgements(path) == {"1": {"a name": 2.0}}
    path.write_text("1 a 2\n")
    assert read_judgements(path) == {"1": {"a": 2.0}}


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_queries, "just a question\n", ":1: expected an id, a tab and a question"),
        (read_queries, '{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}\n', ":2: the id '1' comes a second time"),
        (read_queries, '{"_id": "1"}\n', r"needs '_id' \(or 'id'\) and 'text'"),
        (read_queries, "{broken\n", ":1: not JSON"),
        (read_queries, "1\t \n", ":1: the question is empty"),
        (read_queries, "\n", "has no questions"),
        (read_judgements, "1 0 a\n1 0\n", "the gain 'a' is not a number"),
        (read_judgements, "1 0\n", ":1: expected question, iteration, document, gain"),
        (read_judgements, "", "has no judgements"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, read, text: str, message: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(InvalidJudgements, match=message):
        read(path)
    with pytest.raises(InvalidJudgements, match="nowhere cannot be read"):
        read(tmp_path / "nowhere")


def test_a_document_counts_where_its_best_passage_stands() -> None:
    hits = [Hit(chunk, document, 1.0, "", "vector") for chunk, document in (("1", "b"), ("2", "a"), ("3", "b"))]
    run = run_questions(lambda text: hits if text == "x" else [], {"q1": "x", "q2": "y"})
    assert run.documents(lambda hit: hit.document_id) == {"q1": ["b", "a"], "q2": []}
    assert run.answered == 1
