"""`braid evaluate` on a small index, whose right figures are known."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli import app


def braid(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


def test_every_way_of_searching_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BRAID_HOME": str(tmp_path), "BRAID_EMBEDDING_MODEL": "hashing", "COLUMNS": "160"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "in").mkdir()
    texts = {
        "bees.md": "Bees live in a hive.",
        "ants.txt": "Ants carry leaves.",
        "GPW.txt": "Pumps by the GPW. So GPW.",
    }
    for name, text in texts.items():
        (tmp_path / "in" / name).write_text(text)
    assert braid("ingest", str(tmp_path / "in"), "--index", "zoo", "--engine", "inline")[0] == 0
    queries, qrels = tmp_path / "queries.tsv", tmp_path / "qrels"
    queries.write_text(
        "q1\tWhere do bees live?\nq2\tWho carries leaves?\nq3\tWho are the GPW?\nq4\tnobody judged this\n"
    )
    qrels.write_text("q1 0 bees 1\nq2 0 ants.txt 1\nq3 0 GPW.txt 1\n")
    options = ("evaluate", "--queries", str(queries), "--qrels", str(qrels), "--index", "zoo")

    code, out, _ = braid(*options, "--json")
    found = json.loads(out)
    assert (code, found["questions"], found["unjudged"]) == (0, 3, 1)
    assert list(found["searches"]) == ["keyword", "vector", "graph", "reciprocal ranks", "fused"]
    for name in ("ndcg@10", "recall@10", "recall@100", "mrr"):
        assert found["searches"]["keyword"][name] == found["searches"]["fused"][name] == 1.0
        assert found["searches"]["graph"][name] == pytest.approx(1 / 3)
    assert found["searches"]["graph"]["answered"] == 1
    assert 0 < found["unrelated_below"] <= 1

    code, out, err = braid(*options)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [
        "search",
        "keyword",
        "vector",
        "graph",
        "reciprocal",
        "fused",
    ]
    assert "3 questions; 1 have no judgement" in err
    assert "A search pipeline with unrelated_below: " in err

    qrels.write_text("q1 0 wasps 1\n")
    code, _, err = braid(*options)
    assert code == 2
    assert "has none of the judged documents (for example 'wasps')" in err
    qrels.write_text("other 0 bees 1\n")
    code, _, err = braid(*options)
    assert code == 2
    assert "both must use the same ids" in err

    qrels.write_text("q1 0 bees 1\n")
    code, _, err = braid(*options, "--at-least", "ndcg@10=1.0", "--at-least", "mrr=0.9")
    assert (code, "at best" in err) == (0, False)
    qrels.write_text("q1 0 ants.txt 1\n")
    code, _, err = braid(*options, "--at-least", "ndcg@10=0.9", "--at-least", "recall@100=0.1")
    assert code == 1
    assert [line.split()[0] for line in err.splitlines() if "at best" in line] == ["ndcg@10"]
    code, _, err = braid(*options, "--at-least", "ndcg=0.9")
    assert (code, "write one of ndcg@10" in err) == (2, True)
