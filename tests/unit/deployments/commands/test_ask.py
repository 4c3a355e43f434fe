"""`braid ask` and what `braid search` shows, on a small index and with a model that answers by a script."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from tests.support.openai_server import OpenAIServer

VALVE = "The valve of the second tank opens at 4 bar. It was made by the Ghent Pump Works (GPW).\n"


def braid(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    texts = {"valve.md": f"# Valves\n\n{VALVE}", "copy.txt": VALVE, "bees.txt": "Bees live in a hive near Ghent.\n"}
    for name, text in texts.items():
        (folder / "in").mkdir(exist_ok=True)
        (folder / "in" / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAID_HOME", str(folder / "home"))
        patch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
        assert braid("ingest", str(folder / "in"), "--index", "works", "--engine", "inline")[0] == 0
    return folder / "home"


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HOME": str(home), "EMBEDDING_MODEL": "hashing"}.items():
        monkeypatch.setenv(f"BRAID_{name}", value)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, openai_server: OpenAIServer) -> OpenAIServer:
    """The endpoint of the settings; its answers are in `model.script`."""
    monkeypatch.setenv("BRAID_OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("BRAID_OPENAI_API_KEY", openai_server.api_key)
    monkeypatch.setenv("BRAID_CHAT_MODEL", "scripted")
    return openai_server


def test_an_answer_cites_what_it_was_given(model: OpenAIServer) -> None:
    model.script = lambda _: "It opens at 4 bar [1], some say 5 [42]."
    code, out, err = braid("ask", "When does the valve open?", "--index", "works")
    assert code == 0
    assert "It opens at 4 bar [1], some say 5." in out
    assert "[1] " in out
    assert "characters " in out
    assert "Citations of passages that the model was not given are removed: 42." in err
    assert " input_tokens" in err
    [prompt] = model.prompts
    assert "opens at 4 bar" in prompt
    assert "GPW" in prompt

    code, answered, _ = braid("ask", "When does the valve open?", "--index", "works", "--json")
    document = json.loads(answered)
    assert document["answer"] == "It opens at 4 bar [1], some say 5."
    assert document["unknown_citations"] == [42]
    assert document["cost"]["output_tokens"] == 10
    [cited] = document["citations"]
    assert cited["document"] in {"valve.md", "copy.txt"}


def test_relations_of_the_question_are_told_to_the_model(model: OpenAIServer) -> None:
    model.script = lambda _: "By them [1]."
    braid("ask", "What does GPW stand for?", "--index", "works")
    assert "GPW stands for Ghent Pump Works" in model.prompts[0]


def test_an_answer_without_citations_is_marked_and_a_refusal_fails(model: OpenAIServer) -> None:
    model.script = lambda prompt: 401 if "bees" in prompt.partition("Question:")[2] else "Maybe."
    code, out, err = braid("ask", "valve?", "--index", "works")
    assert (code, out.strip()) == (0, "Maybe.")
    assert "cites no passage" in err
    code, out, err = braid("ask", "Where do bees live?", "--index", "works")
    assert code == 1
    assert "answered 401" in err


def test_what_is_missing_is_named_before_anything_runs() -> None:
    for arguments in (["ask", "x"], ["search", "x", "--hyde"], ["search", "x", "--multi-query"]):
        code, out, err = braid(*arguments, "--index", "works")
        assert (code, out) == (2, "")
        assert "BRAID_OPENAI_BASE_URL" in err
        assert "BRAID_CHAT_MODEL" in err


def test_other_wordings_and_an_invented_answer_find_more(model: OpenAIServer) -> None:
    def answer(prompt: str) -> Any:
        return "- insects in a hive\n2. hive\n" if "wordings" in prompt else "Bees live in a hive."

    model.script = answer
    code, out, _ = braid("search", "apiary", "--index", "works", "--multi-query", "--hyde", "--json", "--explain")
    found = json.loads(out)
    assert code == 0
    assert found["hits"][0]["document"] == "bees.txt"
    assert found["hits"][0]["scores"].keys() >= {"multi_query", "hyde"}
    assert found["explanation"]["ranks"][0] == {
        "vector": 1,
        "keyword": None,
        "graph": None,
        "multi_query": 1,
        "hyde": 1,
    } | {"vector": found["explanation"]["ranks"][0]["vector"]}
    assert found["cost"]["input_tokens"] > 0


def test_a_model_that_is_away_leaves_the_other_searches(model: OpenAIServer) -> None:
    model.script = lambda _: 401
    code, out, err = braid("search", "Where do bees live?", "--index", "works", "--hyde")
    assert code == 3
    assert "bees.txt" in out
    assert "answered 401" in err


def test_search_shows_scores_places_highlights_and_duplicates() -> None:
    code, out, _ = braid("search", "When does the valve open?", "--index", "works", "--explain")
    assert code == 0
    assert "+1 near duplicate" in out
    assert "keyword " in out
    assert "characters " in out
    assert "searched for: When does the valve open?" in out
    code, out, _ = braid("search", "Who are the GPW?", "--index", "works", "--json", "--explain")
    found = json.loads(out)
    first = found["hits"][0]
    assert [first["text"][each["start"] : each["end"]] for each in first["highlights"]] == [
        each["text"] for each in first["highlights"]
    ]
    assert "GPW" in {each["text"] for each in first["highlights"]}
    assert len(first["duplicates"]) == 1
    assert found["explanation"]["entities"][0] == "GPW"
    assert {"GPW stands for Ghent Pump Works"} <= {
        hop for each in found["explanation"]["neighbourhood"] for hop in each["path"]
    }


def test_tags_narrow_the_search_and_bad_ones_are_refused() -> None:
    code, out, _ = braid("search", "valve", "--index", "works", "--tag", "team=sea", "--json")
    assert (code, json.loads(out)["hits"], json.loads(out)["filters"]) == (0, [], {"team": ["sea"]})
    for tag, complaint in (("team", "write NAME=VALUE"), ("__index=x", "reserved"), ("a:b=c", "contains none of")):
        code, out, err = braid("search", "valve", "--index", "works", "--tag", tag)
        assert (code, out) == (2, "")
        assert complaint in err
