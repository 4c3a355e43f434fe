"""If some documents fail, in any handler and on any store, the others are stored exactly as without them."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.catalog import load_catalog
from deployments.runs import Request, make_services, run_pipeline
from flows.author import RunResult
from handlers.extraction import code, images, tables
from handlers.ingestion import embeddings, entities, partition, summary
from handlers.models import make_embedder
from handlers.records import Artifact, Chunk, Document
from handlers.stores import IndexStore
from tests.support.identities import balance
from tests.support.index_stores import make_store
from tests.support.ingesting import settings_in, write

STEPS = ("extract", "tables", "images", "code", "cut", "embed", "terms", "entities", "summary")
STORES = ("documents", "vectors", "term rows", "facts", "published")
PLACES = (*STEPS, *STORES)
"""Where a document can be poisoned: its text says where it fails."""
ERRORS: tuple[Callable[[], Exception], ...] = (
    lambda: KeyError("poison"),
    lambda: RecursionError("poison"),
    lambda: UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "poison"),
    lambda: MemoryError("poison"),
    lambda: AssertionError(),
)


def is_poisoned(text: str, place: str) -> bool:
    return f"poison in {place}." in text


def fail(text: str, place: str) -> None:
    if is_poisoned(text, place):
        raise ERRORS[len(text) % len(ERRORS)]()


class PoisonedEmbedder:
    """An embedder that fails for some texts."""

    def __init__(self) -> None:
        self._inner = make_embedder("hashing")
        self.name, self.dim = self._inner.name, self._inner.dim

    def embed_documents(self, texts: Sequence[str]) -> Any:
        fail("\n".join(texts), "embed")
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> Any:
        return self._inner.embed_query(text)


class PoisonedStore:
    """A store that refuses some documents, like one whose driver cannot store a value."""

    def __init__(self, store: IndexStore) -> None:
        self._store = store
        self._staged: dict[str, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_documents(self, documents: Sequence[Document], chunks: Sequence[Chunk], **more: Any) -> dict[str, str]:
        for each in documents:
            fail(each.text, "documents")
            self._staged[each.id] = each.text
        return self._store.put_documents(documents, chunks, **more)

    def put_vectors(self, chunks: Sequence[Chunk], *rest: Any, **more: Any) -> int:
        fail("\n".join(chunk.text for chunk in chunks), "vectors")
        return self._store.put_vectors(chunks, *rest, **more)

    def put_terms(self, chunks: Sequence[Chunk], *rest: Any, **more: Any) -> int:
        fail("\n".join(chunk.text for chunk in chunks), "term rows")
        return self._store.put_terms(chunks, *rest, **more)

    def put_graph(self, chunks: Sequence[Chunk], *rest: Any, **more: Any) -> int:
        fail("\n".join(chunk.text for chunk in chunks), "facts")
        return self._store.put_graph(chunks, *rest, **more)

    def publish(self, versions: Mapping[str, str], **more: Any) -> int:
        for document_id in versions:
            fail(self._staged[document_id], "published")
        return self._store.publish(versions, **more)


def poison(patch: pytest.MonkeyPatch) -> None:
    """Let the functions that handlers call fail for texts that contain a marker."""

    def failing(module: Any, name: str, place: str, text_of: Callable[..., str]) -> None:
        real = getattr(module, name)

        def function(*arguments: Any, **options: Any) -> Any:
            fail(text_of(*arguments), place)
            return real(*arguments, **options)

        patch.setattr(module, name, function)

    def text_of(document: Document, *_: Any) -> str:
        return document.text

    failing(tables, "tables_of_blocks", "tables", text_of)
    failing(images, "_pictures", "images", text_of)
    failing(code, "_code_blocks", "code", text_of)
    failing(partition, "partition_document", "cut", lambda document, *_: document.text)
    failing(embeddings, "terms", "terms", lambda text, *_: text)
    failing(entities, "segments", "entities", lambda text, *_: text)
    failing(summary, "prose_sentences", "summary", text_of)


class PoisonedExtractor:
    """The extractor of the registry, and a parser that fails for some files."""

    def extract(self, file: Any) -> Any:
        from handlers.extraction import RegistryExtractor

        fail(file.data.decode(), "extract")
        return RegistryExtractor().extract(file)


def run(folder: Path, store: Any, names: Sequence[str], texts: Mapping[str, str], home: Path) -> RunResult:
    source = folder / uuid.uuid4().hex / "docs"
    source.mkdir(parents=True)
    for name in names:
        (source / name).write_text(texts[name])
    return ingested(source, store, home)


def ingested(source: Path, store: Any, home: Path) -> RunResult:
    settings = settings_in(home)
    catalog = load_catalog(settings)
    services = make_services(settings, "docs").with_objects(
        {"index_store": store, "embedder": PoisonedEmbedder(), "text_extractor": PoisonedExtractor()}
    )
    request = Request(catalog.find("ingest"), {"source": str(source)}, index="docs", engine="inline", recorded=False)
    try:
        return run_pipeline(request, settings=settings, catalog=catalog, services=services)
    finally:
        services.close()


def content(store: IndexStore) -> dict[str, Any]:
    """The stored content of each searchable document, without parts that depend on the location of the files."""
    found: dict[str, Any] = {}
    states = store.document_states()
    names, mentions = {state.id: state.name for state in states}, store.mentions(WORDS)
    for each in store.read_documents([state.id for state in states]):
        if not each.searchable:
            continue
        key = each.document.id
        chunks = store.chunks_of(key)
        artifacts: list[Artifact] = store.artifacts_of(key)
        found[names[key]] = (
            [(chunk.text, chunk.heading, chunk.start, chunk.end, chunk.page) for chunk in chunks],
            sorted((each.kind, each.content) for each in artifacts),
            store.summary_of(key),
            [(state.model, state.terms, state.facts) for state in store.chunk_states([c.id for c in chunks]).values()],
            sorted(each.name for each in mentions if each.chunk_id in {chunk.id for chunk in chunks}),
        )
    return found


WORDS = ("Ada Lovelace", "Grace Hopper")


def text_of(number: int, place: str | None) -> str:
    said = f"This is a poison in {place}.{'!' * (number % 5)}" if place else "All is well here, and stays so."
    return (
        f"# Report {number}\n\n{said}\n\nAda Lovelace met Grace Hopper in year {number}. They wrote a program.\n\n"
        f"| a | b |\n|---|---|\n| {number} | 2 |\n\n```python\nprint({number})\n```\n"
    )


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_any_documents_poisoned_anywhere_leave_the_others_as_they_are(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    @settings(
        max_examples=15 if kind == "memory" else 5,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.sampled_from([None, None, *PLACES]), min_size=1, max_size=12))
    def check(places: list[str | None]) -> None:
        texts = {f"{number:02}.md": text_of(number, place) for number, place in enumerate(places)}
        good = [name for name, place in zip(texts, places, strict=True) if place is None]
        bad = sorted(set(texts) - set(good))
        with pytest.MonkeyPatch.context() as patch:
            poison(patch)
            with make_store(kind, request, tmp_path) as with_them, make_store(kind, request, tmp_path) as without:
                result = run(tmp_path, PoisonedStore(with_them), list(texts), texts, tmp_path)
                assert result.status == ("partial" if bad else "succeeded"), result.errors
                assert sorted({failure.item for failure in result.failures}) == bad
                if good:
                    assert run(tmp_path, PoisonedStore(without), good, texts, tmp_path).status == "succeeded"
                assert content(with_them) == content(without)
                statuses = {row.name: (row.status, bool(row.reason)) for row in with_them.documents()}
                assert statuses == {name: ("failed", True) if name in bad else ("processed", False) for name in texts}

    check()


@pytest.mark.parametrize("place", PLACES)
def test_each_handler_names_the_document(place: str, tmp_path: Path) -> None:
    texts = {f"{number:02}.md": text_of(number, place if number == 3 else None) for number in range(8)}
    with make_store("memory", None, tmp_path) as store:  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as patch:
            poison(patch)
            result = run(tmp_path, PoisonedStore(store), list(texts), texts, tmp_path)
        assert [failure.item for failure in result.failures] == ["03.md"]
        assert store.statistics()["documents"] == 7


class OvertakenStore:
    """A store in which another run publishes the documents of these names right before this one."""

    def __init__(self, store: IndexStore, names: Sequence[str]) -> None:
        self._store, self._names = store, names

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_documents(self, documents: Sequence[Document], chunks: Sequence[Chunk], **more: Any) -> dict[str, str]:
        versions = self._store.put_documents(documents, chunks, **more)
        for each in documents:
            if each.name in self._names:
                theirs = replace(each, text="Their words.", content_sha256="0" * 64, blocks=())
                self._store.publish(self._store.put_documents([theirs], [], run_id="theirs", fingerprint="theirs"))
        return versions


@pytest.mark.parametrize("overtaken", [["02.md"], ["00.md", "01.md", "02.md", "03.md"]], ids=["one", "all"])
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_documents_that_another_run_overtook_are_set_aside_and_tried_again(
    kind: str, overtaken: list[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    texts = {f"{number:02}.md": text_of(number, None) for number in range(4)}
    write(tmp_path / "docs", texts)
    with make_store(kind, request, tmp_path) as store:
        first = ingested(tmp_path / "docs", OvertakenStore(store, overtaken), tmp_path)
        assert first.status == "partial", first.errors
        assert sorted((each.item, each.transient) for each in first.failures) == [(name, True) for name in overtaken]
        for failure in first.failures:
            assert "publishing it: " in failure.error
            assert "another run may have replaced it: ingest it again" in failure.error
        assert balance(first)["processed"] == 4 - len(overtaken)
        statuses = {row.name: row.status for row in store.documents()}
        assert statuses == {name: "failed" if name in overtaken else "processed" for name in texts}
        second = ingested(tmp_path / "docs", store, tmp_path)
        assert second.status == "succeeded"
        assert (balance(second)["processed"], balance(second)["unchanged"]) == (len(overtaken), 4 - len(overtaken))
        with make_store(kind, request, tmp_path) as alone:
            assert ingested(tmp_path / "docs", alone, tmp_path).status == "succeeded"
            assert content(store) == content(alone)
