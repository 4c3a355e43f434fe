"""The public names of `flows`, and a check that they are sufficient for authors."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import (
    Pipeline,
    Registry,
    RunResult,
    arun,
    handler,
    parallel,
    pipeline,
    run,
)
from tests.support.scripts import ROOT, in_a_new_process
from tests.support.words import EXPECTED, OWN, TEXT, WORDS, values

TEN_LINES = """
from flows import handler, parallel, pipeline, run

@handler
def word_counts(text: str) -> dict[str, int]:
    return {word: text.split().count(word) for word in text.split()}

@handler
def longest_word(text: str) -> str:
    return max(text.split(), key=len)

words = pipeline("words", parallel(word_counts, longest_word))
result = run(words, text="to be or not to be")
"""


# What is there, and what it costs to import it.


def test_the_door_exports_exactly_what_it_names() -> None:
    assert len(flows.__all__) == len(set(flows.__all__)) == 26
    assert all(getattr(flows, name) is not None for name in flows.__all__)
    assert set(flows.__all__) <= set(dir(flows))
    with pytest.raises(AttributeError, match="module 'flows' has no attribute 'runn'"):
        _ = flows.runn  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("code", "left_out"),
    [
        ("import flows", "numpy prefect sqlalchemy flows.loaders flows.engine"),
        ("from flows import *", "numpy prefect sqlalchemy"),
        (TEN_LINES, "numpy prefect sqlalchemy ruamel"),
    ],
)
def test_importing_it_loads_nothing_heavy(code: str, left_out: str) -> None:
    loaded = in_a_new_process(
        f"{code}\nimport sys\nprint(*[name for name in {left_out.split()} if name in sys.modules])"
    )
    assert loaded == ""


def test_the_packages_say_that_they_are_typed() -> None:
    assert all((ROOT / name / "py.typed").is_file() for name in ("flows", "handlers", "deployments"))


# The ten lines.


def test_the_ten_lines_run_as_a_script() -> None:
    shown = in_a_new_process(
        TEN_LINES + "\nimport json\nprint(json.dumps([result['word_counts'], result.longest_word]))"
    )
    assert tuple(json.loads(shown)) == EXPECTED


def test_the_ten_lines_run_where_a_loop_runs_already() -> None:
    code = f"""
import asyncio, json
async def cell():
    exec({TEN_LINES!r}, globals())
    from flows import arun
    again = await arun(words, text="to be or not to be")
    assert again.fingerprint == result.fingerprint
    print(json.dumps([result["word_counts"], result.longest_word]))
asyncio.run(cell())
"""
    assert tuple(json.loads(in_a_new_process(code))) == EXPECTED


def test_the_ten_lines_run_under_pytest() -> None:
    result = run(WORDS, text=TEXT, registry=OWN)
    assert values(result) == EXPECTED


async def test_the_ten_lines_run_in_an_async_test() -> None:
    result = await arun(WORDS, text=TEXT, registry=OWN)
    assert values(result) == EXPECTED
    assert run(WORDS, text=TEXT, registry=OWN).fingerprint == result.fingerprint


# What a result says.


def test_a_result_gives_its_fields_and_reads_well() -> None:
    result = run(WORDS, text="a bb", registry=OWN)
    assert list(result) == ["text", "word_counts", "longest_word"]
    assert "word_counts" in result
    assert "word_count" not in result
    assert "longest_word" in dir(result)
    assert result.flow_run_id is None
    assert repr(result).startswith("<words: succeeded; 2 steps in 0.0")
    assert repr(result).endswith(f"; fields: text, word_counts, longest_word; run {result.run_id}>")


@pytest.mark.parametrize("read", [lambda result: result["word_count"], lambda result: result.word_count])
def test_a_misspelt_field_is_named_with_the_nearest(read: Callable[[RunResult], Any]) -> None:
    result = run(WORDS, text="a bb", registry=OWN)
    with pytest.raises((KeyError, AttributeError), match="no field named 'word_count'; did you mean 'word_counts'?"):
        read(result)
    assert not hasattr(result, "word_count")


def test_a_field_that_is_called_like_an_attribute_is_found_in_brackets() -> None:
    @handler(registry=(own := Registry()), writes=["status", "cost"])
    def judge() -> dict[str, str]:
        return {"status": "excellent", "cost": "none"}

    result = run(pipeline("judging", judge), registry=own)
    assert (result.status, result["status"], result["cost"]) == ("succeeded", "excellent", "none")


def test_a_field_that_a_failed_step_did_not_write_is_missed_with_the_reason() -> None:
    @handler(registry=(own := Registry()))
    def shout(text: str) -> str:
        raise ValueError("too loud")

    result = run(pipeline("shouting", shout), text="a", registry=own)
    assert repr(result).startswith(
        "<shouting: failed, 0.shout: Handler 'shout' threw exception: too loud; 0 of 1 step in"
    )
    with pytest.raises(KeyError) as missed:
        _ = result["shout"]
    assert missed.value.__notes__ == [
        "The run did not succeed (shouting: failed, 0.shout: Handler 'shout' threw exception: too loud)."
    ]
    with pytest.raises(AttributeError) as missing:
        _ = result.shout
    assert missing.value.__notes__ == missed.value.__notes__


# What type checkers see.


SNIPPET = """
from flows import Call, Pipeline, arun, handler, parallel, pipeline, run
from handlers.jobs import job

@handler
def word_counts(text: str) -> dict[str, int]:
    return {}

@handler(writes="longest")
def longest_word(text: str, *, most: int = 3, call: Call) -> str:
    return text

@handler(name="slow", effects=())
async def slowly(text: str) -> int:
    return 1

@job(key="k:{text}")
def work(text: str) -> float:
    return 1.0

words = Pipeline(name="x", steps=["a", {"parallel": ["b"]}])
also = pipeline("words", parallel(word_counts, [longest_word, "c"]), slowly)
result = run(also, text="a")

async def later() -> None:
    reveal_type(await arun(also, text="a"))

reveal_type(word_counts("a"))
reveal_type(longest_word("a", call=Call()))
reveal_type(slowly)
reveal_type(work)
reveal_type(words)
reveal_type(result.status)
word_counts(3)
handler("word_counts")
handler(write="x")
"""
REVEALED = ["RunResult", "dict[str, int]", "str", "int]", "float", "Pipeline", "'succeeded'"]
"""Part of what a type checker says of each, in the order of the lines."""
WRONG = {"word_counts(3)", 'handler("word_counts")', 'handler(write="x")'}


def check_types(revealed: list[str], wrong: list[int]) -> None:
    """Compare what a type checker reveals, and the lines (counted from 1) that it finds wrong."""
    assert len(revealed) == len(REVEALED), revealed
    assert [expected for expected, message in zip(REVEALED, revealed, strict=True) if expected not in message] == []
    assert {SNIPPET.splitlines()[line - 1] for line in wrong} == WRONG


@pytest.mark.slow
def test_pyright_sees_the_types_of_handlers(tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)], "typeCheckingMode": "strict"}))
    command = [
        str(Path(sys.executable).parent / "pyright"),
        "--pythonpath",
        sys.executable,
        "--outputjson",
        "snippet.py",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    found: list[Mapping[str, Any]] = json.loads(ended.stdout)["generalDiagnostics"]
    check_types(
        [one["message"] for one in found if one["severity"] == "information"],
        [one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"],
    )


@pytest.mark.slow
def test_mypy_sees_the_types_of_handlers(tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--follow-imports=silent", "--cache-dir", str(tmp_path), "snippet.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    lines = ended.stdout.splitlines()
    check_types(
        [line for line in lines if "Revealed type" in line],
        [int(line.split(":")[1]) for line in lines if ": error:" in line],
    )


def test_the_short_forms_of_python_and_yaml_are_the_same() -> None:
    written = Pipeline(name="x", steps=["a", {"parallel": ["b"]}])
    assert written == pipeline("x", "a", parallel("b"))
