"""Ingesting again processes only changes, and leaves the index equal to a new one."""

from pathlib import Path
from typing import Any

import pytest

from deployments.catalog import load_catalog
from deployments.settings import Settings
from flows.loaders import load_pipeline
from tests.support.embedders import HashedWords
from tests.support.ingesting import LONG_AGO, called, ingest, opened, settings_in, write

FILES = {
    "a.txt": "Ann Lee met Bob Ray in York. The storm took the bridge over the river.",
    "b.md": "# Rivers\n\nThe river Ouse runs through York.\n\n# Bridges\n\n" + "Bridges cross rivers. " * 80,
    "sub/c.md": "# Tables\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nEdgar Codd worked at IBM on tables.",
    "sub/d.txt": "Violins are played in orchestras.",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write(tmp_path / "in", FILES)
    return tmp_path / "in"


@pytest.fixture
def settings(tmp_path: Path, source: Path) -> Settings:
    made = settings_in(tmp_path)
    assert called(ingest(made, source))["publish_documents"] == 1
    return made


def content(settings: Settings) -> str:
    store = opened(settings)
    try:
        return store.fingerprint()
    finally:
        store.close()


def rebuilt(folder: Path, source: Path, **given: Any) -> str:
    other = settings_in(folder / "rebuilt", **given.pop("settings", {}))
    ingest(other, source, **given)
    return content(other)


def test_nothing_is_done_where_nothing_changed(settings: Settings, source: Path) -> None:
    before = content(settings)
    result = ingest(settings, source)
    assert not called(result)
    assert result.context.data["changes"]["unchanged"] == 4
    assert content(settings) == before


def test_a_file_that_was_only_touched_is_read_once_more_and_not_again(settings: Settings, source: Path) -> None:
    write(source, {"a.txt": FILES["a.txt"]}, modified=LONG_AGO + 60)
    assert called(ingest(settings, source)) == {"restate": 1}
    assert not called(ingest(settings, source))


def test_an_edit_embeds_only_the_passages_that_changed(settings: Settings, source: Path, tmp_path: Path) -> None:
    everything = ingest(settings_in(tmp_path / "other"), source).cost["chunks"]
    write(source, {"b.md": FILES["b.md"].replace("Ouse", "Foss")}, modified=LONG_AGO + 60)
    result = ingest(settings, source)
    assert called(result)["extract_text"] == 1
    assert everything == 5
    assert result.cost["chunks"] == 1
    assert content(settings) == rebuilt(tmp_path, source)


def test_a_changed_heading_changes_what_is_embedded_below_it(settings: Settings, source: Path, tmp_path: Path) -> None:
    write(source, {"b.md": FILES["b.md"].replace("# Bridges", "# Crossings")}, modified=LONG_AGO + 60)
    ingest(settings, source)
    assert content(settings) == rebuilt(tmp_path, source)


def test_a_changed_title_changes_what_is_embedded_with_it(settings: Settings, source: Path, tmp_path: Path) -> None:
    page = "<html><head><title>{}</title></head><body><p>Violins have four strings.</p></body></html>"
    write(source, {"e.html": page.format("Strings")})
    ingest(settings, source)
    write(source, {"e.html": page.format("Instruments")}, modified=LONG_AGO + 60)
    assert ingest(settings, source, ocr="never").cost["chunks"] == 1
    assert content(settings) == rebuilt(tmp_path, source, ocr="never")


def changed_pipeline(settings: Settings, folder: Path, old: str, new: str) -> Any:
    text = Path(str(load_catalog(settings).find("ingest").file)).read_text(encoding="utf-8")
    assert text.count(old) >= 1
    place = folder / "changed.yaml"
    place.write_text(text.replace(old, new), encoding="utf-8")
    return load_pipeline(place)


def test_a_changed_option_reruns_only_the_steps_that_depend_on_it(
    settings: Settings, source: Path, tmp_path: Path
) -> None:
    other = changed_pipeline(
        settings, tmp_path, "- generate_summary", "- {handler: generate_summary, options: {sentences: 1}}"
    )
    result = ingest(settings, source, pipeline=other)
    assert called(result)["generate_summary"] == 1
    assert "chunks" not in result.cost  # all vectors are those that are stored
    assert not called(ingest(settings, source, pipeline=other))
    smaller = changed_pipeline(
        settings, tmp_path, "- partition_text", "- {handler: partition_text, options: {max_tokens: 100}}"
    )
    embedded = ingest(settings, source, pipeline=smaller).cost["chunks"]
    assert embedded < opened_count(settings)  # passages that stayed as they were keep their vectors
    assert content(settings) == rebuilt(tmp_path, source, pipeline=smaller)


def test_documents_that_are_read_in_another_way_keep_the_vectors_and_terms_of_their_passages(
    settings: Settings, source: Path, tmp_path: Path
) -> None:
    result = ingest(settings, source, ocr="never")
    assert called(result)["extract_text"] == 1
    assert "chunks" not in result.cost
    assert content(settings) == rebuilt(tmp_path, source, ocr="never")


def opened_count(settings: Settings) -> int:
    return statistic(settings, "chunks")


def statistic(settings: Settings, name: str) -> int:
    store = opened(settings)
    try:
        return store.statistics()[name]
    finally:
        store.close()


def test_another_embedding_model_reads_no_document(
    settings: Settings, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from handlers.models.embedding import HashingEmbedder

    monkeypatch.setattr(HashingEmbedder, "name", "hashing-2")
    done = called(ingest(settings, source))
    assert set(done) == {"load_chunks", "generate_dense_embeddings", "store_dense_vectors", "confirm_documents"}
    assert content(settings) == rebuilt(tmp_path, source)
    assert not called(ingest(settings, source))


def test_token_vectors_come_and_go_with_the_vectors_alone(
    settings: Settings, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.models.embedding.HashingEmbedder", HashedWords)
    only_vectors = {"load_chunks", "generate_dense_embeddings", "store_dense_vectors", "confirm_documents"}
    assert set(called(ingest(settings, source))) == only_vectors
    assert statistic(settings, "token_vectors") == statistic(settings, "chunks")
    option = "handler: generate_dense_embeddings, options: {token_vectors: false}"
    changed_pipeline(settings, tmp_path, "- generate_dense_embeddings", f"- {{{option}}}")
    text = (tmp_path / "changed.yaml").read_text(encoding="utf-8")
    (tmp_path / "changed.yaml").write_text(text.replace("handler: generate_dense_embeddings, when", f"{option}, when"))
    without = load_pipeline(tmp_path / "changed.yaml")
    assert set(called(ingest(settings, source, pipeline=without))) == only_vectors
    assert statistic(settings, "token_vectors") == 0
    assert not called(ingest(settings, source, pipeline=without))


def test_one_step_or_everything_can_be_done_again(settings: Settings, source: Path) -> None:
    before = content(settings)
    again = called(ingest(settings, source, only_step="extract_entities"))
    assert set(again) == {"load_chunks", "extract_entities", "store_graph", "confirm_documents"}
    everything = ingest(settings, source, force=True)
    assert everything.cost["chunks"] == opened_count(settings)
    assert content(settings) == before
    refused = ingest(settings, source, only_step="generate_sumary")
    assert refused.status == "failed"
    assert "did you mean 'generate_summary'" in str(refused.errors[0].error)


def test_moved_documents_keep_their_passages(settings: Settings, source: Path, tmp_path: Path) -> None:
    (source / "a.txt").rename(source / "moved.txt")
    (source / "sub" / "c.md").rename(source / "tables.md")
    result = ingest(settings, source)
    assert result.context.data["changes"]["move"] == 2
    assert "chunks" not in result.cost
    assert content(settings) == rebuilt(tmp_path, source)
    (source / "b.md").rename(source / "b.txt")  # another format: read again, though its content is the same
    assert called(ingest(settings, source))["extract_text"] == 1
    assert content(settings) == rebuilt(tmp_path / "2", source)


def test_a_title_that_was_the_name_of_the_file_follows_it(tmp_path: Path) -> None:
    settings, source = settings_in(tmp_path), tmp_path / "in"
    write(source, {"Rivers.md": "# Rivers\n\nThe Ouse runs through York.", "e.txt": "Other words."})
    ingest(settings, source)
    (source / "Rivers.md").rename(source / "other.md")
    assert "chunks" not in ingest(settings, source).cost
    assert content(settings) == rebuilt(tmp_path, source)


def test_missing_documents_are_removed_only_on_request_and_never_too_many_at_once(
    settings: Settings, source: Path, tmp_path: Path
) -> None:
    before = content(settings)
    (source / "a.txt").unlink()
    (source / "b.md").unlink()
    assert not called(ingest(settings, source))
    refused = ingest(settings, source, prune=True)
    assert refused.status == "failed"
    message = str(refused.errors[0].error)
    assert "2 of the 4 documents" in message
    assert "--max-prune-share 0.5" in message
    assert content(settings) == before
    assert called(ingest(settings, source, prune=True, max_prune_share=0.5)) == {"prune": 1}
    assert content(settings) == rebuilt(tmp_path, source)
    store = opened(settings)
    assert store.find_entities(["Ann Lee", "Edgar Codd"]).keys() == {"Edgar Codd"}
    store.close()


def test_an_empty_folder_never_empties_the_index(settings: Settings, source: Path) -> None:
    before = content(settings)
    for path in [*source.glob("*.*"), *source.glob("sub/*")]:
        path.unlink()
    refused = ingest(settings, source, prune=True, max_prune_share=1.0)
    assert refused.status == "failed"
    assert "holds no file" in str(refused.errors[0].error)
    assert content(settings) == before


def test_documents_of_other_sources_and_patterns_are_left_alone(settings: Settings, source: Path) -> None:
    before = content(settings)
    assert not called(ingest(settings, source, pattern="**/*.txt", prune=True, max_prune_share=0.0))
    write(source.parent / "elsewhere", {"z.txt": "Quite other words."})
    ingest(settings, source.parent / "elsewhere", prune=True, max_prune_share=0.0)
    assert content(settings) != before
    assert not called(ingest(settings, source, prune=True, max_prune_share=0.0))


def test_new_tags_alone_are_noted_without_reading_anything(settings: Settings, source: Path, tmp_path: Path) -> None:
    tags = {"team": ["legal"]}
    assert called(ingest(settings, source, tags=tags)) == {"restate": 1}
    write(
        source,
        {
            "sub/.tags.yaml": "rules:\n  - match: '*.txt'\n    tags: {team: music}\n",
            "a.txt.tags.yaml": "kind: [letter, note]",
        },
    )
    assert called(ingest(settings, source, tags=tags)) == {"restate": 1}
    assert not called(ingest(settings, source, tags=tags))
    store = opened(settings)
    tagged = {state.name: state.tags for state in store.document_states()}
    store.close()
    assert tagged["sub/d.txt"] == (("team", "music"),)
    assert tagged["sub/c.md"] == (("team", "legal"),)
    assert tagged["a.txt"] == (("kind", "letter"), ("kind", "note"), ("team", "legal"))
    assert content(settings) == rebuilt(tmp_path, source, tags=tags)


def test_a_broken_document_is_not_tried_again_until_it_changes_or_a_retry_is_requested(
    settings: Settings, source: Path
) -> None:
    write(source, {"broken.pdf": "%PDF-1.4 this is none"})
    assert [failure.item for failure in ingest(settings, source).failures] == ["broken.pdf"]
    again = ingest(settings, source)
    assert not called(again)
    assert again.context.data["changes"]["quarantined"] == 1
    assert [failure.item for failure in ingest(settings, source, retry_failed=True).failures] == ["broken.pdf"]
    write(source, {"broken.pdf": "%PDF-1.4 this is none either"}, modified=LONG_AGO + 60)
    assert [failure.item for failure in ingest(settings, source).failures] == ["broken.pdf"]
