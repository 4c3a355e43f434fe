"""Tokens: kept as hashes, limited by tags and time, useless once revoked, and never a way in when their file is broken."""

import json
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli import app
from deployments.service import TokenFile
from deployments.setting_values import InvalidSettings
from flows.errors import UnknownName
from handlers.tags import InvalidTag


def test_a_token_is_known_by_its_hash_only(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    secret = file.add("ann", tags={"team": ["legal"]})
    assert secret not in file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    found = file.caller(secret)
    assert found is not None
    assert (found.name, found.access, found.may_ingest) == ("ann", {"team": ["legal"]}, False)
    assert file.caller(secret + "x") is None
    assert file.caller(file.listed()[0].sha256) is None


def test_a_revoked_token_is_useless_at_once_in_every_process(tmp_path: Path) -> None:
    here, there = TokenFile(tmp_path / "tokens.json"), TokenFile(tmp_path / "tokens.json")
    secret = here.add("ann", tags=None, may_ingest=True)
    assert there.caller(secret) is not None
    here.revoke("ann")
    assert there.caller(secret) is None
    assert there.in_use(), "nobody gets in again without a token because all were revoked"
    assert here.add("ann", tags=None) != secret
    with pytest.raises(UnknownName, match="no token named 'bob'"):
        here.revoke("bob")


def test_a_token_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    secret = file.add("ann", tags=None, days=2)
    assert file.caller(secret) is not None
    later = time.time() + 2 * 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    assert file.caller(secret) is None


def test_tokens_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    with pytest.raises(InvalidSettings, match="must give access to some documents"):
        file.add("ann", tags={})
    with pytest.raises(InvalidSettings, match="--ingest needs --everything"):
        file.add("ann", tags={"team": ["legal"]}, may_ingest=True)
    with pytest.raises(InvalidTag, match="reserved"):
        file.add("ann", tags={"__index": ["x"]})
    file.add("ann", tags=None)
    with pytest.raises(InvalidSettings, match="a token named 'ann' already"):
        file.add("ann", tags=None)


@pytest.mark.parametrize(
    "text", ["", "{", '{"tokens": [{"id": "1"}]}', '{"tokens": [{"tags": null}]}', "[]", '{"tokens": 1}']
)
def test_a_broken_file_lets_nobody_in(tmp_path: Path, text: str) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    file.path.write_text(text)
    with pytest.raises(InvalidSettings, match="is not a file of tokens"):
        file.caller("x")
    with pytest.raises(InvalidSettings, match="is not a file of tokens"):
        file.in_use()


def test_a_file_edited_to_no_tags_sees_nothing(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    secret = file.add("ann", tags={"team": ["legal"]})
    file.path.write_text(file.path.read_text().replace("team", "x").replace('"legal"', ""))
    found = file.caller(secret)
    assert found is not None
    assert found.where is not None
    assert not found.where.matches([("x", "legal"), ("team", "legal")])


def test_the_commands_make_list_and_revoke_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def braid(*arguments: str) -> tuple[int, str]:
        ended = CliRunner().invoke(app, ["tokens", *arguments])
        return ended.exit_code, ended.stdout + ended.stderr

    assert "No tokens" in braid("list")[1]
    assert "choose the documents that the token sees" in braid("add", "ann")[1]
    code, out = braid("add", "ann", "--tag", "team=legal", "--tag", "team=sales", "--days", "3", "--json")
    made = json.loads(out)
    assert (code, made["tags"]) == (0, {"team": ["legal", "sales"]})
    assert TokenFile(tmp_path / "tokens.json").caller(made["token"]) is not None
    assert "team=legal or sales" in braid("list")[1]
    assert made["token"] not in braid("list", "--json")[1]
    assert braid("revoke", made["id"])[0] == 0
    assert json.loads(braid("list", "--json")[1])["tokens"][0]["state"] == "revoked"
