"""Settings from the environment."""

from pathlib import Path

import pytest

from deployments.setting_values import InvalidSettings, index_name
from deployments.settings import Settings, load_settings, misspelt_variables


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BRAID_HOME", "BRAID_MAX_WORKERS", "LORCHESTRA_MAX_WORKERS"):
        monkeypatch.delenv(name, raising=False)


def test_without_anything_set_all_lives_in_one_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.run_store_url == f"sqlite:///{tmp_path}/.braid/runs.db"
    assert settings.index_location("manuals") == f"sqlite:///{tmp_path}/.braid/indexes/manuals.db"
    assert settings.artifacts_root == f"{tmp_path}/.braid/artifacts"


@pytest.mark.parametrize(
    ("variables", "workers", "origin"),
    [
        ({"BRAID_MAX_WORKERS": "3"}, 3, "BRAID_MAX_WORKERS"),
        ({"LORCHESTRA_MAX_WORKERS": "4"}, 4, "LORCHESTRA_MAX_WORKERS"),
        ({"LORCHESTRA_MAX_WORKERS": "4", "BRAID_MAX_WORKERS": "3"}, 3, "BRAID_MAX_WORKERS"),
    ],
)
def test_the_old_name_of_max_workers_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], workers: int, origin: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.max_workers, settings.max_workers_origin) == (workers, origin)


def test_lists_are_separated_and_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_HANDLER_MODULES", "team.one, team.two")
    monkeypatch.setenv("BRAID_PIPELINES_DIRS", "a:b,c")
    monkeypatch.setenv("BRAID_S3_SECRET", "hush")
    monkeypatch.setenv("BRAID_DATABASE_URL", "postgresql://me:hush@db/braid")
    settings = load_settings()
    assert settings.handler_modules == ("team.one", "team.two")
    assert settings.pipelines_dirs == (Path("a"), Path("b"), Path("c"))
    assert settings.storage_options.s3_secret == "hush"
    assert "hush" not in repr(settings)


def test_every_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAID_MAX_WORKERS", "0")
    monkeypatch.setenv("BRAID_INDEX_URL", "sqlite:///one.db")
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert "BRAID_MAX_WORKERS: Input should be greater than or equal to 1" in str(refused.value)
    assert "BRAID_INDEX_URL: Value error, needs the placeholder {index}" in str(refused.value)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a..b", ".hidden", "a b", "x" * 65, "a\n", "ä"])
def test_an_index_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(InvalidSettings, match="cannot be the name of an index"):
        index_name(name)
    with pytest.raises(InvalidSettings):
        Settings().index_location(name)


def test_misspelt_variables_come_with_what_was_meant() -> None:
    assert misspelt_variables({"BRAID_S3_ENDPOIN_URL": "x", "BRAID_HOME": "y", "PATH": "z"}) == [
        ("BRAID_S3_ENDPOIN_URL", "BRAID_S3_ENDPOINT_URL")
    ]
