"""Every kind of source passes the same checks, which your own kinds have to pass too."""

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings

from deployments.testkit import CHECKS, Fault, SourceKit
from tests.support import source_places as places
from tests.support.storage_servers import FAULTS, OVER_HTTP, OVER_TCP, STORAGES

PROFILE = settings.get_current_profile_name()
KINDS: dict[str, frozenset[Fault]] = {
    "folder": frozenset({"half"}),
    "memory": frozenset(),
    "ftp": frozenset(),
    "git": frozenset(),
    "site": frozenset({"busy", "cut", "expired", "half"}),
    "sitemap": frozenset({"half"}),
    "api": frozenset({"busy", "cut", "expired", "half"}),
    "feed": frozenset({"busy", "cut", "expired", "half"}),
    "rows": frozenset(),
    "mail": frozenset({"expired"}),
}
"""By kind, or by place where one kind has several, how that place can fail."""
ALWAYS = ("follows_additions_edits_and_deletions",)
IN_CI = (*ALWAYS, "takes_names_of_every_sort", "answers_several_threads_at_once", "equals_an_index_made_anew", *FAULTS)
"""All others are the same code for every kind, so that only a nightly run tries them with each."""


def cases() -> Iterator[tuple[str, str]]:
    for kind, faults in KINDS.items():
        for check in CHECKS:
            chosen = check in {"moderate": ALWAYS, "ci": IN_CI}.get(PROFILE, CHECKS)
            once = kind == "git" and PROFILE == "ci"
            if (chosen or once) and (check not in FAULTS or FAULTS[check] in faults):
                yield kind, check


@pytest.fixture(scope="module")
def mail_port() -> Iterator[int]:
    with places.mail_server() as port:
        yield port


def make_kit(kind: str, folder: Path, stack: ExitStack, request: pytest.FixtureRequest) -> SourceKit:
    match kind:
        case "folder":
            return SourceKit("files", places.FolderPlace(folder / "docs"), folder)
        case "memory":
            return SourceKit("files", places.MemoryPlace(), folder)
        case "ftp":
            return SourceKit("files", stack.enter_context(places.ftp_place(folder / "docs")), folder)
        case "git":
            return SourceKit("git", places.GitPlace(folder / "repository"), folder)
        case "site" | "sitemap":
            return SourceKit("web", stack.enter_context(places.site_place(sitemap=kind == "sitemap")), folder)
        case "api":
            return SourceKit("rest", stack.enter_context(places.api_place()), folder)
        case "feed":
            return SourceKit("feed", stack.enter_context(places.feed_place()), folder)
        case "mail":
            port: Any = request.getfixturevalue("mail_port")
            return SourceKit("mail", places.MailPlace(port, uuid4().hex), folder)
        case _:
            place = places.RowsPlace(folder / "sales.db")
            return SourceKit("rows", place, folder, tools=place.tools())


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "check"), [*cases()])
def test_a_kind_of_source_passes_the_checks(
    kind: str, check: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with ExitStack() as stack:
        CHECKS[check](make_kit(kind, tmp_path, stack, request))


STORAGES_IN_CI = {"sftp": OVER_TCP | {"expired"}, "webdav": OVER_HTTP, "files+http": OVER_HTTP, "github": OVER_HTTP}
"""How each can fail whose server pip installs; `python -m bench.storages` has gs, abfs and smb too, with every check."""
CHECKS_OF_STORAGES = CHECKS if PROFILE == "nightly" else (*IN_CI[1:3], *FAULTS)


def cases_of_storages() -> Iterator[tuple[str, str]]:
    for scheme, faults in STORAGES_IN_CI.items():
        for check in CHECKS_OF_STORAGES:
            if check not in FAULTS or FAULTS[check] in faults:
                yield scheme, check


@pytest.mark.slow
@pytest.mark.skipif(PROFILE == "moderate", reason="starts a server per check; in CI only")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(("scheme", "check"), list(cases_of_storages()))
def test_files_on_a_server_pass_the_checks(scheme: str, check: str, tmp_path: Path) -> None:
    with STORAGES[scheme](tmp_path / "docs") as place:
        assert place.faults >= STORAGES_IN_CI[scheme]
        CHECKS[check](SourceKit("files", place, tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(PROFILE == "moderate", reason="starts a server; in CI only")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_an_archive_on_a_server_is_a_source_alone(tmp_path: Path) -> None:
    with STORAGES["sftp"](tmp_path / "docs") as place:
        with zipfile.ZipFile(tmp_path / "docs" / "old.zip", "w") as archive:
            archive.writestr("in/a.md", "Begin of the zip. End.")
        place.url += "/old.zip"
        kit = SourceKit("files", place, tmp_path)
        assert kit.balance(kit.ingest())["processed"] == 2
        assert "Begin of the zip. End." in kit.found()
        assert kit.balance(kit.ingest())["unchanged"] == 2
