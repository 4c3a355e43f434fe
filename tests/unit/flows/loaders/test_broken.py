"""A corpus of broken files of every dialect, each with its exact messages (`FILE.problems`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployments.catalog import Catalog
from deployments.commands.validate import check
from flows.author import ReadParameter, Registry, StepDeclaration, handler
from flows.loaders import load_pipeline_text
from flows.state import Context

FOLDER = Path(__file__).parent / "broken"
FILES = sorted(FOLDER.glob("*.yaml"))
SUMMARIES = "name: summaries\nsteps: [extract_text, summarize]\n"


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The handlers that the files name."""
    made = Registry()

    @handler(registry=made, writes="text")
    def extract_text(sources: Sequence[str] = ()) -> str:
        return " ".join(sources)

    @handler(registry=made, writes="chunks")
    def partition_text(text: str, *, max_tokens: int = 100, overlap: int = 0) -> list[str]:
        return text.split()[:max_tokens]

    @handler(registry=made, writes="summary")
    def summarize(text: str) -> str:
        return text[:10]

    @handler(registry=made, writes="count")
    def count_sources() -> int:
        return 0

    @handler(registry=made, effects="store")
    def store(chunks: list[str], *, table: str) -> None:
        return None

    def declares(options: Mapping[str, Any]) -> StepDeclaration:
        inputs = options.get("inputs", ())
        reads = tuple(ReadParameter(name, True, Any) for name in inputs if isinstance(inputs, list))
        return StepDeclaration(reads, (options["output"],) if "output" in options else (), ())

    @handler(registry=made, declares=declares)
    def query(context: Context, *, source: str, query: str, output: str) -> None:
        return None

    @handler(registry=made, declares=declares)
    def transform(context: Context, *, function: str, inputs: list[str], output: str) -> None:
        return None

    @handler(registry=made, declares=declares)
    def merge(context: Context, *, inputs: list[str], output: str) -> None:
        return None

    @handler(registry=made, declares=declares)
    def skill(context: Context, *, skill: str, inputs: list[str], output: str) -> None:
        return None

    @handler(registry=made, writes="audio")
    def text_to_speech(text: str, *, model: str = "") -> str:
        return text

    @handler(registry=made, writes="image")
    def text_to_image(text: str, *, model: str = "", output_file: str = "") -> str:
        return text

    @handler(registry=made, writes="video")
    def image_to_video(image: str, *, model: str = "") -> str:
        return image

    return made


def found(file: Path, registry: Registry) -> str:
    others = load_pipeline_text(SUMMARIES)
    problems = check(str(file), Catalog({"summaries": others}), registry=registry)
    return "".join(
        f"{problem.line}:{problem.column}: {problem.level} {problem.code}: {problem.message}\n" for problem in problems
    )


def test_the_corpus_covers_every_dialect() -> None:
    counted = {dialect: len(list(FOLDER.glob(f"{dialect}_*.yaml"))) for dialect in ("native", "hpd", "chain", "data")}
    assert all(count >= 10 for count in counted.values()), counted
    assert len(FILES) >= 60


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_broken_file_gives_exactly_its_problems(file: Path, registry: Registry) -> None:
    assert found(file, registry) == file.with_suffix(".problems").read_text()
