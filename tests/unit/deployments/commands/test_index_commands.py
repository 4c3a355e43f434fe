"""`braid index`: lists, copies and removes indexes that are files."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings
from handlers.stores import open_index
from tests.support.index_stores import document, ingest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


def braid(*arguments: str, answer: str | None = None) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, ["index", *arguments], prog_name="braid", input=answer)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


def braid_json(*arguments: str) -> tuple[int, Any]:
    code, out, _ = braid(*arguments, "--json")
    return code, json.loads(out)


def make_index(name: str, *texts: str) -> None:
    store = open_index(Settings().index_location(name))
    ingest(store, *(document(f"d{place}", text) for place, text in enumerate(texts)))
    store.close()


def test_indexes_are_listed_with_counts_and_size() -> None:
    assert "No indexes yet" in braid("list")[1]
    make_index("zoo", "storm at York Selby", "river")
    make_index("app")
    code, listed = braid_json("list")
    assert code == 0
    assert [(each["index"], each["documents"], each["entities"]) for each in listed["indexes"]] == [
        ("app", 0, 0),
        ("zoo", 2, 2),
    ]
    assert listed["indexes"][1]["bytes"] > 10_000
    assert "zoo" in braid("list")[1]


def test_a_copy_is_compared_with_its_original(tmp_path: Path) -> None:
    make_index("zoo", "storm at York Selby", "river")
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    code, copied = braid_json("copy", "zoo", elsewhere)
    assert (code, copied["matches"], copied["documents"]) == (0, True, 2)
    assert braid_json("fingerprint", elsewhere)[1]["fingerprint"] == copied["fingerprints"][0]
    assert braid("fingerprint", "zoo")[1].strip() == copied["fingerprints"][0]
    code, _, err = braid("copy", "zoo", elsewhere)
    assert code == 2
    assert "has documents already; delete it first, or give --add" in err
    make_index("more", "a", "b", "c")
    code, _, err = braid("copy", "zoo", "more", "--add")
    assert code == 1
    assert "documents: 2 and 3" in err
    for source, target, message in [("zo", "x", "no index named 'zo'"), ("zoo", "zoo", "are the same index")]:
        code, _, err = braid("copy", source, target)
        assert code == 2
        assert message in err


def test_an_index_is_deleted_when_told_so_twice(home: Path) -> None:
    make_index("zoo", "storm")
    picture = home / "artifacts" / "zoo" / "d0" / "p.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"x")
    code, _, err = braid("delete", "zoo", answer="n\n")
    assert code == 1
    assert "Delete the index 'zoo' with 1 documents?" in err
    assert braid("delete", "zoo", "--json")[0] == 2
    assert (home / "indexes" / "zoo.db").exists()
    assert braid("delete", "zoo", "--yes")[0] == 0
    assert not (home / "indexes" / "zoo.db").exists()
    assert not picture.exists()
    assert braid("delete", "zoo", "--yes")[0] == 2


def test_a_database_holds_any_number_of_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, wanted in [
        ("postgresql://u:p@host/db", "postgresql://u:p@host/db?index=zoo"),
        ("postgresql+psycopg:///db?host=/run", "postgresql+psycopg:///db?host=/run&index=zoo"),
        ("postgresql://host/db?index=team-{index}", "postgresql://host/db?index=team-zoo"),
    ]:
        monkeypatch.setenv("BRAID_INDEX_URL", given)
        assert Settings().index_location("zoo") == wanted


def test_an_index_that_cannot_be_opened_hides_no_other(home: Path) -> None:
    make_index("zoo", "storm")
    (home / "indexes" / "broken.db").write_text("this is no database" * 100)
    code, out, errors = braid("list")
    assert (code, "zoo" in out, "broken" in out) == (1, True, False)
    assert "broken.db cannot be opened as an index" in " ".join(errors.split())
    code, listed = braid_json("list")
    assert (code, [each["index"] for each in listed["indexes"]], list(listed["unusable"])) == (1, ["zoo"], ["broken"])


@pytest.mark.parametrize(
    "template",
    [
        "sqlite:///{folder}/all/{index}/braid.db",
        "{folder}/[a]/{index}.{index}.sqlite",
        "sqlite:///{folder}/x-{index}.db",
    ],
)
def test_indexes_in_places_of_their_own_are_listed(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = template.replace("{folder}", str(tmp_path))
    monkeypatch.setenv("BRAID_INDEX_URL", template)
    make_index("zoo", "storm")
    make_index("app-2")
    foreign = Path(template.removeprefix("sqlite:///").replace("{index}", "foreign"))
    foreign.parent.mkdir(exist_ok=True)
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    assert [each["index"] for each in braid_json("list")[1]["indexes"]] == ["app-2", "zoo"]
    assert "did you mean 'zoo'" in braid("delete", "zo", "--yes")[2]
    assert braid("delete", "zoo", "--yes")[0] == 0
    assert [each["index"] for each in braid_json("list")[1]["indexes"]] == ["app-2"]


def test_indexes_in_memory_cannot_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_INDEX_URL", "memory://{index}")
    assert "cannot be listed" in braid("list")[2]
    with pytest.raises(InvalidSettings, match="neither a file nor in PostgreSQL"):
        from deployments.indexes import remove_index

        remove_index(Settings(), "zoo")
