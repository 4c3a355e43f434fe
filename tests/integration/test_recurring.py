"""Recurring ingestion on real processes: killed runs, concurrent readers, random lives of a folder."""

import json
import re
import subprocess
import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from handlers.stores import open_index
from tests.support.editions import DOCUMENTS, EDITIONS, text
from tests.support.index_stores import index_url
from tests.support.ingesting import ingest, opened, settings_in, write
from tests.support.paths import ROOT


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an index, with a place for its name."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/{{seed}}{{index}}.db"
    return index_url(request.getfixturevalue("postgres_server"), f"{tmp_path.name}-{{seed}}{{index}}")


@pytest.mark.slow
def test_random_lives_of_a_folder_leave_what_a_new_index_would_have(url: str) -> None:
    """A short version of `python -m tests.support.simulating URL`, which runs 200 longer ones."""
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.simulating",
            url,
            "--first",
            "1",
            "--sequences",
            "3",
            "--runs",
            "2",
            "--kills",
            "0.8",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    *reports, total = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [report for report in reports if not report["same"]] == [], ended.stderr[-2000:]
    assert (len(reports), total["runs"], ended.returncode) == (3, 6, 0)
    assert total["killed"] >= 3
    assert total["resumed"] >= 1


@pytest.mark.slow
def test_readers_see_the_old_version_or_the_new_one_while_ingestions_run_and_are_killed(
    url: str, tmp_path: Path
) -> None:
    url = url.replace("{seed}", "e")
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.support.editions", url, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    lines = [writer.stdout.readline().split()]  # the first edition is there
    wrong: list[str] = []
    seen: set[str] = set()
    reads = 0
    over = threading.Event()

    def read() -> None:
        nonlocal reads
        store = open_index(url.replace("{index}", "docs"))
        passages = len(store.search_terms({"handbook": 1.0}, top_k=1000))
        while not over.is_set():
            editions: dict[str, set[str]] = defaultdict(set)
            hits = store.search_terms({"handbook": 1.0}, top_k=1000)
            for hit in hits:
                editions[hit.document_id] |= set(re.findall(r"number\d+", hit.content))
            reads += 1
            if len(editions) != DOCUMENTS or len(hits) != passages:
                wrong.append(f"{len(editions)} documents, {len(hits)} of {passages} passages")
            wrong.extend(f"a mixture: {each}" for each in editions.values() if len(each) != 1)
            seen.update(*editions.values())
        store.close()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        lines += [line.split() for line in writer.stdout]
        writer.wait(60)
    finally:
        over.set()
        for reader in readers:
            reader.join(60)
        writer.stdout.close()
        writer.kill()
    assert lines == [[str(edition), "killed" if edition else "whole", "succeeded"] for edition in range(EDITIONS)]
    assert not wrong
    assert reads > EDITIONS
    assert f"number{EDITIONS - 1}" in seen


def test_ingestions_of_one_folder_at_once_all_succeed_and_leave_one_index(url: str, tmp_path: Path) -> None:
    write(tmp_path / "in", {f"{number}.md": text(number, number) for number in range(DOCUMENTS)})
    settings = settings_in(tmp_path, index_url=url.replace("{seed}", "o"))
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: ingest(settings, tmp_path / "in"), range(4)))
    assert [result.status for result in results] == 4 * ["succeeded"], [each.error for each in results[0].errors]
    alone = settings.model_copy(update={"index_url": url.replace("{seed}", "a")})
    assert ingest(alone, tmp_path / "in").status == "succeeded"
    with closing(opened(settings)) as together, closing(opened(alone)) as once:
        assert together.fingerprint() == once.fingerprint()
