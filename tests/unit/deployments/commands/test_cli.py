"""The commands as a person or a script uses them; no Prefect server, so everything runs inline."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli import app, shadowing
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path / "home"


def braid(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, list(arguments), prog_name="braid")
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


def braid_json(*arguments: str) -> tuple[int, Any]:
    code, out, _ = braid(*arguments, "--json")
    return code, json.loads(out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bees.md").write_text(
        "# Bees\n\nThe queen bee is called Matilda. She lives in a hive in Ghent.\n"
    )
    (tmp_path / "in" / "ants.txt").write_text("Ants carry leaves. The ants of Bruges carry tulips.\n")
    (tmp_path / "in" / "broken.pdf").write_bytes(b"%PDF-1.4 and then nothing")
    return tmp_path / "in"


def test_documents_go_in_and_answers_come_out(folder: Path) -> None:
    code, ran = braid_json("ingest", str(folder), "--index", "zoo", "--engine", "inline")
    assert (code, ran["status"]) == (3, "partial")
    assert [failure["item"] for failure in ran["failures"]] == ["broken.pdf"]

    code, found = braid_json("search", "Where does the queen bee live?", "--index", "zoo", "--top", "1")
    assert (code, found["hits"][0]["document"]) == (0, "bees.md")
    code, out, _ = braid("search", "Who carries tulips?", "-i", "zoo")
    assert code == 0
    assert "ants.txt" in out

    code, listed = braid_json("runs")
    assert [(record["pipeline"], record["status"]) for record in listed["runs"]] == [("ingest", "partial")]
    code, shown = braid_json("runs", "show", ran["run_id"][:13])
    assert {outcome["status"] for outcome in shown["outcomes"]} == {"succeeded", "skipped"}
    assert len(shown["outcomes"]) == len(ran["outcomes"])
    assert "broken.pdf" in braid("runs", "show", ran["run_id"])[1]


def test_patterns_choose_documents_and_a_clean_run_ends_with_0(folder: Path) -> None:
    code, out, progress = braid("ingest", str(folder), "--pattern", "*.md", "--engine", "inline", "--max-workers", "1")
    assert code == 0
    assert "succeeded" in out
    assert "extract_text[0] succeeded" in progress
    code, _ = braid_json("ingest", str(folder), "--exclude", "*.pdf", "--engine", "inline")
    assert code == 0


def test_a_failed_run_ends_with_1_and_says_why(folder: Path) -> None:
    (folder / "none").mkdir()
    code, ran = braid_json("ingest", str(folder / "none"), "--engine", "inline")
    assert (code, ran["status"]) == (1, "failed")
    code, out, _ = braid("run", "ingest", "-p", f"source={folder / 'none'}", "--engine", "inline")
    assert code == 1
    assert "holds no file" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["plan", "ingets"], "did you mean 'ingest'"),
        (["run", "ingest", "-p", "sorce=x"], "did you mean 'source'"),
        (["run", "ingest", "-p", "source"], "write -p KEY=VALUE"),
        (["run", "search", "-p", "query=a", "-p", "query=b"], "is given twice"),
        (["search", "x", "--index", "nowhere"], "no index named 'nowhere'"),
        (["search", "x", "--index", "../x"], "cannot be the name of an index"),
        (["handlers", "extract_txt"], "did you mean 'extract_text'"),
        (["runs", "show", "nothing"], "no run named 'nothing'"),
    ],
)
def test_bad_input_ends_with_2_and_a_message(arguments: list[str], complaint: str, home: Path) -> None:
    code, out, err = braid(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert complaint in err
    assert not (home / "indexes").exists()
    code, document = braid_json(*arguments)
    assert code == 2
    assert complaint in document["error"]["message"]


def test_validate_reports_all_problems_with_their_places(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: wrong\nsteps:\n  - extract_txt\n  - handler: partition_text\n    options: {max_tokns: 5}\n")
    code, out, _ = braid("validate", str(wrong), "ingest")
    assert code == 2
    assert f"{wrong}:3:" in out
    assert "did you mean 'extract_text'" in out
    assert "did you mean 'max_tokens'" in out
    assert "ingest: ok" in out
    code, document = braid_json("validate", str(tmp_path))
    assert (code, document["ok"], document["files"][0]["ok"]) == (2, False, False)
    assert {problem["line"] for problem in document["files"][0]["problems"]} >= {3}


def test_our_own_pipelines_are_valid() -> None:
    code, document = braid_json("validate")
    assert (code, document["ok"]) == (0, True)
    assert {entry["file"] for entry in document["files"]} >= {"ingest", "search"}
    assert all(not entry["problems"] for entry in document["files"])


def test_a_plan_says_where_every_limit_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "at most 2 (step)" in braid("plan", "ingest")[1]
    assert "1 (--max-workers, below the step's 2)" in braid("plan", "pipeline.ingest", "--max-workers", "1")[1]
    monkeypatch.setenv("LORCHESTRA_MAX_WORKERS", "1")
    code, document = braid_json("plan", "ingest")
    assert (code, document["limit"]) == (0, {"value": 1, "origin": "LORCHESTRA_MAX_WORKERS"})
    assert braid("plan", "ingest", "--mermaid")[1].startswith("flowchart TD\n")


def test_a_derived_order_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "derived.yaml"
    path.write_text(
        "name: derived\nmode: dag\nparameters: {query: {required: true}}\n"
        "steps: [embed_query, keyword_search, vector_search]\n"
    )
    out = braid("plan", str(path))[1]
    assert "vector_search waits for embed_query (it reads query_vector)" in out
    assert "keyword_search can start at once" in out


def test_a_pipeline_in_a_file_runs_with_the_teams_own_handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "braid_team_handlers.py").write_text(
        "from flows import handler\n@handler(writes='doubled')\n"
        "def double(number: int) -> int:\n    return 2 * number\n"
    )
    path = tmp_path / "team.yaml"
    path.write_text("name: team\nparameters: {number: {type: integer, required: true}}\nsteps: [double]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("BRAID_HANDLER_MODULES", "braid_team_handlers")
    code, ran = braid_json("run", str(path), "-p", "number=4", "--engine", "inline")
    assert (code, ran["status"], ran["outcomes"][0]["id"]) == (0, "succeeded", "0.double")


def test_handlers_and_schema_are_documents_too() -> None:
    code, document = braid_json("handlers", "partition_text")
    assert (code, document["reads"]) == (0, [{"name": "documents", "required": True}])
    assert "max_tokens" in {option["name"] for option in document["options"]}
    assert "list_sources" in braid("handlers")[1]
    code, document = braid_json("schema")
    assert code == 0
    assert "steps" in json.dumps(document)


def test_doctor_finds_a_misspelt_setting_and_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_MAX_WORKER", "3")
    code, document = braid_json("doctor")
    found = {(finding["topic"], finding["level"]): finding["text"] for finding in document["findings"]}
    assert found["settings", "warning"] == "BRAID_MAX_WORKER sets nothing; did you mean BRAID_MAX_WORKERS?"
    assert (code == 0) is document["ok"]
    assert {"versions", "run store", "models", "prefect", "disk"} <= {
        finding["topic"] for finding in document["findings"]
    }


def test_help_teaches_and_names_the_exit_codes() -> None:
    out = braid("--help")[1]
    for word in ("braid demo", "Exit codes", "130", "validate"):
        assert word in out
    for command in ("demo", "ingest", "search", "run", "plan", "validate", "handlers", "schema", "doctor", "runs"):
        code, out, _ = braid(command, "--help")
        assert code == 0
        assert "--json" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["validate"],
        ["plan", "ingest"],
        ["handlers"],
        ["schema"],
        ["runs"],
        ["doctor"],
        ["search", "leaves", "--index", "zoo"],
    ],
)
@pytest.mark.slow
def test_prefect_is_not_imported(arguments: list[str], folder: Path) -> None:
    if arguments[0] == "search":
        assert braid("ingest", str(folder), "--index", "zoo", "--engine", "inline", "--pattern", "*.txt")[0] == 0
    program = (
        "import sys\nfrom deployments.cli import main\nsys.argv = ['braid', *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n    assert 'prefect' not in sys.modules, 'prefect was imported'\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deployments.commands.execution.run_pipeline", interrupted)
    code, _, err = braid("run", "ingest", "-p", "source=x", "--engine", "inline")
    assert code == 130
    assert "Interrupted" in err


def test_a_package_that_took_our_name_is_explained(tmp_path: Path) -> None:
    stranger = ModuleType("flows")
    stranger.__file__ = str(tmp_path / "flows" / "__init__.py")
    assert shadowing() is None
    explained = shadowing(lambda name: stranger)
    assert explained is not None
    assert explained.startswith(f"the package 'flows' is not Braid's but the one at {stranger.__file__}")


def test_the_demo_is_made_anew_and_sets_the_broken_document_aside(home: Path) -> None:
    code, document = braid_json("demo", "--engine", "inline", "--questions", "1")
    assert (code, document["run"]["status"]) == (0, "partial")
    assert [failure["item"] for failure in document["run"]["failures"]] == [
        "broken/truncated-x11-compound-text-encoding.pdf"
    ]
    assert (document["index"]["documents"], document["index"]["failed"]) == (37, 1)
    assert len(document["answers"][0]["hits"]) == 1
