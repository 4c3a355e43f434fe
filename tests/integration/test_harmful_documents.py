"""Documents whose parsers crash, eat memory or never end: each is set aside by name, and the others are found."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.catalog import load_catalog
from deployments.runs import Request, make_services, run_pipeline
from flows.author import RunResult
from flows.calling import Sandbox
from tests.support import parsers
from tests.support.document_bombs import BOMBS, pdf_page, pdf_stream
from tests.support.documents import make_docx, make_pdf
from tests.support.identities import balance
from tests.support.ingesting import opened, settings_in, write
from tests.support.profiles import scaled

HARM: dict[bytes, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    b"segfault": (parsers.die, ("SIGSEGV",), "crashed its reader (SIGSEGV)"),
    b"leave": (parsers.leave, (7,), "ended with exit code 7"),
    b"spin": (parsers.spin, (), "took more than 1 s of CPU time"),
    b"eat": (parsers.eat, (), "needed more than 400 MB of memory"),
    b"killed": (parsers.die, ("SIGKILL",), "its reader was killed (SIGKILL)"),
}


class HarmfulParsers:
    """The sandbox of an ingestion in which files with a marker do harm."""

    def __init__(self) -> None:
        self._sandbox = Sandbox(cpu_s=1.0, memory_bytes=400_000_000)
        self.cpu_s = self._sandbox.cpu_s

    def run(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        return self._sandbox.run(*self._harmed(function, arguments), **more)

    def stream(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Iterator[Any]:
        return self._sandbox.stream(*self._harmed(function, arguments), **more)

    def _harmed(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        data = next((each if isinstance(each, bytes) else getattr(each, "data", b"") for each in arguments), b"")
        for word, (harm, given, _) in HARM.items():
            if b"harm: " + word in data and (b"tables" not in data or function.__name__ == "tables_of_pdf"):
                return harm, *given
        return function, *arguments


def ingest(folder: Path, **parameters: Any) -> RunResult:
    settings = settings_in(folder.parent)
    catalog = load_catalog(settings)
    services = make_services(settings, "docs").with_objects({"parsers": HarmfulParsers()})
    request = Request(catalog.find("ingest"), {"source": str(folder), **parameters}, index="docs", engine="inline")
    try:
        return run_pipeline(request, settings=settings, catalog=catalog, services=services)
    finally:
        services.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    made.mkdir()
    for number in range(3):
        (made / f"good{number}.pdf").write_bytes(make_pdf([f"Sound words number {number}"]))
    (made / "good.docx").write_bytes(make_docx())
    (made / "good.md").write_text("# Fine\n\nWords.")
    return made


def test_harm_is_done_to_nobody_else(folder: Path):
    for word in HARM:
        (folder / f"{word.decode()}.html").write_bytes(b"<p>harm: " + word)
        (folder / f"{word.decode()}-tables.pdf").write_bytes(make_pdf([f"harm: {word.decode()}\n(tables)"]))
    result = ingest(folder)
    assert result.status == "partial"
    reasons = {failure.item: failure.error for failure in result.failures}
    for word, (_, _, reason) in HARM.items():
        assert reason in reasons.pop(f"{word.decode()}.html")
        said = reasons.pop(f"{word.decode()}-tables.pdf")
        assert said.startswith("tables: ")
        assert reason in said
    assert reasons == {}
    store = opened(settings_in(folder.parent))
    assert store.statistics()["documents"] == 5
    store.close()


def test_failures_of_the_machine_are_retried_and_those_of_a_document_are_not(folder: Path):
    write(folder, {"killed.html": "<p>harm: killed", "leave.html": "<p>harm: leave"})
    ingest(folder)
    again = ingest(folder)
    assert [failure.item for failure in again.failures] == ["killed.html"]


def test_a_pdf_whose_form_draws_itself_twice_costs_no_other(folder: Path):
    form = pdf_stream(
        b"/X Do /X Do", b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> >>"
    )
    (folder / "forms.pdf").write_bytes(pdf_page(b"/X Do", b"/XObject << /X 6 0 R >>", form))
    result = ingest(folder)
    [failure] = result.failures
    assert failure.item == "forms.pdf"
    assert failure.error.startswith(("took more than 1 s of CPU time", "needed more than 400 MB of memory"))
    assert balance(result)["processed"] == 5


def test_documents_that_unpack_loop_or_nest_without_end_cost_no_other(folder: Path):
    names = list(BOMBS)[:: max(1, 6 // scaled(1))]
    for name in names:
        (folder / name).write_bytes(BOMBS[name](0.002))
    result = ingest(folder)
    counted = balance(result)
    assert counted["seen"] >= len(names) + 5  # files in archives count too
    store = opened(settings_in(folder.parent))
    states = {state.name: state.status for state in store.document_states()}
    store.close()
    assert [states[f"good{number}.pdf"] for number in range(3)] == ["processed"] * 3
    reasons = {failure.item for failure in result.failures}
    assert {name for name in names if name not in states and name not in reasons} <= {
        name for name in names if name.endswith((".png", ".tiff"))
    }
