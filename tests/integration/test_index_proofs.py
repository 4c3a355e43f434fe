"""`braid index prove` processes each document as its ingestion did: same pipeline, parameters and tags of its source."""

from pathlib import Path
from typing import Any

import pytest

from deployments.catalog import PIPELINES, Catalog, load_catalog
from deployments.proving import ProofReport, prove_index
from deployments.settings import Settings
from tests.support.ingesting import ingest, opened, settings_in, write

FILES = {f"{number}.md": f"# Part {number}\n\n" + f"The pump {number} is green and hums. " * 20 for number in range(4)}
SOURCES = """\
manuals:
  place: {place}
  index: docs
  tags: {{team: [x]}}
  ocr: never
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path, pipelines_dirs=(tmp_path / "pipelines",))


def with_pipeline(settings: Settings, max_tokens: int) -> Catalog:
    """A catalog with a pipeline of the team's own that cuts other passages, and takes their size as a parameter."""
    text = (PIPELINES / "ingest.yaml").read_text(encoding="utf-8")
    cut = '- {handler: partition_text, options: {max_tokens: "{{ most }}"}}'
    text = text.replace("name: ingest\n", "name: ingest_small\n", 1).replace("- partition_text", cut)
    text = text.replace("parameters:\n", f"parameters:\n  most: {{type: integer, default: {max_tokens}}}\n", 1)
    folder = settings.pipelines_dirs[0]
    write(folder, {"ingest_small.yaml": text})
    return load_catalog(settings)


def proven(settings: Settings, catalog: Catalog, **options: Any) -> ProofReport:
    found = prove_index(settings, catalog, "docs", **options)
    assert (found.flaws, found.changed, found.unproven) == ([], 0, [])
    return found


@pytest.mark.parametrize("given", [{}, {"most": 90}])
def test_passages_of_another_pipeline_are_cut_as_it_cuts_them(
    settings: Settings, tmp_path: Path, given: dict[str, Any]
) -> None:
    catalog = with_pipeline(settings, 70)
    write(tmp_path / "docs", FILES)
    ingest(settings, tmp_path / "docs", pipeline=catalog.find("ingest_small"), catalog=catalog, **given)
    found = proven(settings, catalog)
    assert (found.documents, found.differences) == (len(FILES), [])


def test_each_source_is_made_with_its_own_options(settings: Settings, tmp_path: Path) -> None:
    catalog = with_pipeline(settings, 70)
    write(tmp_path / "docs", FILES)
    write(tmp_path / "more", {"a.md": FILES["1.md"], "b.md": FILES["2.md"]})
    ingest(settings, tmp_path / "docs", tags={"team": ["x"]}, ocr="never")
    ingest(settings, tmp_path / "more", pipeline=catalog.find("ingest_small"), catalog=catalog)
    found = proven(settings, catalog)
    assert (found.documents, found.differences) == (6, [])


def test_documents_of_an_earlier_way_are_made_in_that_way(settings: Settings, tmp_path: Path) -> None:
    catalog = load_catalog(settings)
    write(tmp_path / "docs", FILES)
    ingest(settings, tmp_path / "docs", ocr="never")
    ingest(settings, tmp_path / "docs", index="docs@trial")
    assert prove_index(settings, catalog, "docs@trial").holds
    assert prove_index(settings, catalog, "docs").holds


def test_terms_that_a_trial_has_remade_are_reported_for_the_version_that_shares_them(
    settings: Settings, tmp_path: Path
) -> None:
    text = (PIPELINES / "ingest.yaml").read_text(encoding="utf-8").replace("name: ingest\n", "name: ingest_german\n", 1)
    german = "- {handler: generate_sparse_embeddings, options: {language: german}}"
    write(settings.pipelines_dirs[0], {"ingest_german.yaml": text.replace("- generate_sparse_embeddings", german)})
    catalog = load_catalog(settings)
    write(tmp_path / "docs", FILES)
    ingest(settings, tmp_path / "docs", catalog=catalog)
    trial = catalog.find("ingest_german")
    ingest(settings, tmp_path / "docs", index="docs@trial", pipeline=trial, catalog=catalog, force=True)
    assert prove_index(settings, catalog, "docs@trial").holds
    # Its fingerprints no longer describe these terms.
    found = prove_index(settings, catalog, "docs")
    assert {each.detail for each in found.differences} == {"differs for terms"}


def test_a_named_source_is_made_with_its_tags(settings: Settings, tmp_path: Path) -> None:
    from deployments.source_file import load_sources

    write(tmp_path / "docs", FILES)
    write(tmp_path, {"sources.yaml": SOURCES.format(place=tmp_path / "docs")})
    settings = settings.model_copy(update={"sources": tmp_path / "sources.yaml"})
    parameters = load_sources(settings)["manuals"].parameters
    ingest(settings, parameters.pop("source"), **parameters)
    found = proven(settings, load_catalog(settings))
    assert (found.documents, found.differences) == (len(FILES), [])


def test_a_pipeline_that_is_gone_leaves_its_documents_unproven(settings: Settings, tmp_path: Path) -> None:
    catalog = with_pipeline(settings, 70)
    write(tmp_path / "docs", FILES)
    ingest(settings, tmp_path / "docs", pipeline=catalog.find("ingest_small"), catalog=catalog)
    (settings.pipelines_dirs[0] / "ingest_small.yaml").unlink()
    found = prove_index(settings, load_catalog(settings), "docs", repair=True)
    assert (found.documents, found.repaired, found.unproven) == (0, 0, sorted(FILES))


def test_a_pipeline_that_makes_them_otherwise_by_now_shows(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "docs", FILES)
    catalog = with_pipeline(settings, 70)
    ingest(settings, tmp_path / "docs", pipeline=catalog.find("ingest_small"), catalog=catalog)
    changed = with_pipeline(settings, 60)
    assert {each.facet for each in proven(settings, changed).differences} >= {"text", "fingerprint"}
    proven(settings, changed, repair=True)
    assert proven(settings, changed).holds
    store = opened(settings)
    assert max(chunk.tokens for each in store.document_states() for chunk in store.chunks_of(each.id)) <= 60
    store.close()
