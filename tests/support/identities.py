"""Ingests into an index of any kind, and returns its documents by URI, names, tags, and the calls that were made."""

import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deployments.settings import Settings
from flows.author import RunResult
from tests.support.index_stores import index_url
from tests.support.ingesting import ALWAYS, opened, settings_in

STORES = ("memory", "sqlite", "postgres")


def settings_for(kind: str, request: pytest.FixtureRequest, folder: Path) -> Settings:
    """Settings with an empty index of one kind; the indexes in PostgreSQL share a database."""
    name = uuid.uuid4().hex
    match kind:
        case "memory":
            url = f"memory://{name}-{{index}}"
        case "sqlite":
            url = f"sqlite:///{folder}/{name}-{{index}}.db"
        case _:
            url = index_url(request.getfixturevalue("postgres_server"), f"{name}-{{index}}")
    return settings_in(folder, index_url=url)


def names_of(settings: Settings) -> dict[str, str]:
    """The names of all documents, by URI."""
    with closing(opened(settings)) as store:
        return {state.uri: state.name for state in store.document_states()}


def shown(settings: Settings) -> list[str]:
    """The names of all documents, sorted."""
    return sorted(names_of(settings).values())


def words_of(settings: Settings) -> dict[str, str]:
    """The first passage of every document, by name."""
    with closing(opened(settings)) as store:
        return {
            state.name: next((chunk.text for chunk in store.chunks_of(state.id)), "")
            for state in store.document_states()
        }


def tags_of(settings: Settings) -> dict[str, tuple[tuple[str, str], ...]]:
    with closing(opened(settings)) as store:
        return {state.name: state.tags for state in store.document_states()}


def worked(result: RunResult) -> list[str]:
    """The steps of a run in addition to those of every ingestion; empty if there was nothing to do."""
    assert result.status in ("succeeded", "partial"), [(each.id, each.error) for each in result.errors]
    steps = [each.id for each in result.outcomes if each.is_leaf and each.attempts]
    return [step for step in steps if step.rpartition(".")[2] not in ALWAYS]


def balance(result: RunResult) -> dict[str, Any]:
    """The balance of a run, which is exact."""
    found = result.context.data["balance"]
    assert found["exact"], found
    assert found["seen"] == (
        found["processed"] + found["unchanged"] + found["set_aside"] + sum(found["left_out"].values())
    )
    return found
