"""`connect`: an index from Python, in this process; documents that tags exclude do not exist in it."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments import connect
from deployments.service import TokenFile
from deployments.service.access import Forbidden
from deployments.setting_values import InvalidSettings
from deployments.settings import Settings
from flows.errors import UnknownName
from flows.model import InvalidParameters
from tests.support.openai_server import OpenAIServer
from tests.support.paths import ROOT
from tests.support.tagged_index import Tagged, make_index

DOCUMENTS = [Tagged(number, {"team": ["legal" if number % 2 else "sales"]}, number == 0) for number in range(4)]


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path, embedding_model="hashing")
    make_index(made, "manuals", DOCUMENTS, tmp_path / "files")
    return made


def test_an_index_is_searched_and_read(chosen: Settings) -> None:
    with connect("manuals", settings=chosen) as manuals:
        found = manuals.search("How is the pump cleaned?", top=3, filters={"team": ["legal"]}, explain=True)
        assert len(found.hits) <= 3
        assert {hit.document for hit in found.hits} <= {each.name for each in DOCUMENTS[1::2]}
        assert found.explanation is not None
        listed = [each.name for each in manuals.documents()]
        assert listed == sorted(listed)
        assert set(listed) == {each.name for each in DOCUMENTS} | {"zqnever.pdf"}
        assert DOCUMENTS[0].name in [each.name for each in manuals.documents(status="failed")]
        assert manuals.document(DOCUMENTS[1].name).passages[0].start == 0
        with pytest.raises(InvalidParameters, match="the question is empty"):
            manuals.search(" ")


def test_an_answer_comes_in_parts_and_as_a_whole(chosen: Settings, openai_server: OpenAIServer) -> None:
    openai_server.script = lambda _: "Every week [1]."
    with_model = chosen.model_copy(
        update={
            "openai_base_url": openai_server.base_url,
            "chat_model": "scripted",
            "openai_api_key": SecretStr(openai_server.api_key),
        }
    )
    parts: list[str] = []
    with connect("manuals", settings=with_model) as manuals:
        answer = manuals.ask("How is it cleaned?", on_text=parts.append)
    assert "".join(parts) == answer.answer == "Every week [1]."
    assert answer.citations[0].text


def test_documents_are_ingested_and_found(chosen: Settings, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "lamp.md").write_text("# Lamp\n\nThe lamp blinks twice when the battery is low.\n")
    with connect("new", settings=chosen) as new:
        with pytest.raises(UnknownName, match="no index named 'new'"):
            new.search("lamp")
        ended = new.ingest(str(tmp_path / "in"), tags={"team": ["legal"]})
        assert (ended.status, ended.documents["process"]) == ("succeeded", 1)
        assert "blinks twice" in new.search("When does the lamp blink?").hits[0].text


def test_documents_that_tags_exclude_do_not_exist(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect("manuals", access={"team": ["sales"]}, settings=chosen) as manuals:
        assert {each.name for each in manuals.documents()} == {each.name for each in DOCUMENTS[::2]}
        with pytest.raises(UnknownName, match="no document named"):
            manuals.document(DOCUMENTS[1].id)
        with pytest.raises(Forbidden, match="may not start ingestions"):
            manuals.ingest("/tmp")
    with (
        connect("manuals", access={}, settings=chosen) as nobody,
        pytest.raises(UnknownName, match="no index named 'manuals'"),
    ):
        nobody.search("pump")
    secret = TokenFile(chosen.tokens_file).add("ann", tags={"team": ["legal"]})
    monkeypatch.setenv("BRAID_TOKEN", secret)
    limited = Settings(home=chosen.home, embedding_model="hashing")
    with connect("manuals", settings=limited) as manuals:
        assert {each.name for each in manuals.documents()} == {each.name for each in DOCUMENTS[1::2]}
    monkeypatch.setenv("BRAID_TOKEN", "braid_wrong")
    with pytest.raises(InvalidSettings, match="BRAID_TOKEN is not a valid token"):
        connect("manuals", settings=Settings(home=chosen.home))
    with pytest.raises(InvalidSettings, match="give `access` or `url`, not both"):
        connect("manuals", url="http://127.0.0.1:1", access={}, settings=chosen)


def test_the_page_shows_code_that_runs(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.setenv("BRAID_HOME", str(chosen.home))
    monkeypatch.setenv("BRAID_EMBEDDING_MODEL", "hashing")
    values: dict[str, object] = {}
    exec(compile(code, "docs/serve.md", "exec"), values)
    assert "pump" in capsys.readouterr().out
    assert values["failed"] == sorted([DOCUMENTS[0].name, "zqnever.pdf"])
