"""Measures how much of the text of real files is extracted: `python -m bench.extraction FOLDER`.

Every file below FOLDER is read as an ingestion would read it, and its words are compared with those of another reader:
pandoc for DOCX, ODT, RTF, EPUB, LaTeX, Org and notebooks, `pdftotext` for PDF, python-pptx for PPTX, lxml for HTML,
openpyxl for XLSX. Files in which the other reader finds no word are counted, not scored.

`words` is the share of the other reader's words that arrived, `order` the share of its pairs of neighbouring words.
Letters of a PDF that the other reader sets apart (`c o n t r a c t s`) are taken for the word that they are. The files
that are set aside come last, each with its reason.
"""

import argparse
import collections
import json
import re
import subprocess
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from handlers.extraction import Unreadable, mime_type_of, to_document
from handlers.records import SourceFile

_WORD = re.compile(r"[^\W_]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd\ue000-\uf8ff]")
_SPACED = re.compile(r"(?<!\w)(?:\w[ \n]){2,}\w(?!\w)")
_CUT = re.compile(r"(\w)[-\u2010\u00ad]\n\s*(?=[^\W\d_])")
_PANDOC = {
    ".docx": "docx",
    ".odt": "odt",
    ".rtf": "rtf",
    ".epub": "epub",
    ".tex": "latex",
    ".org": "org",
    ".ipynb": "ipynb",
}


@dataclass(frozen=True)
class Score:
    """One file; shares are None where the other reader found nothing, or cannot read the format."""

    name: str
    kind: str
    reason: str = ""
    words: float | None = None
    order: float | None = None
    controls: int = 0
    characters: int = 0
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--results", type=Path, help="write a JSON line for each file: name, text, reason")
    parser.add_argument("--worst", type=int, default=5, help="how many files of each format to name")
    arguments = parser.parse_args()
    scores: list[Score] = []
    lines: list[str] = []
    for path in sorted(arguments.folder.rglob("*")):
        name = path.relative_to(arguments.folder).as_posix()
        if path.is_file() and mime_type_of(name) is not None:
            score, text = score_of(path, name)
            scores.append(score)
            lines.append(json.dumps({"name": name, "text": text, "reason": score.reason}) + "\n")
    if arguments.results:
        arguments.results.write_text("".join(lines))
    print("\n".join(table(scores)))
    print()
    for kind, of_kind in _by_kind(scores):
        read = sorted((each.words, each.name) for each in of_kind if each.words is not None)
        for share, name in read[: arguments.worst]:
            if share < 0.99:
                print(f"{kind:8} {share:.3f}  {name}")
    for each in scores:
        if each.reason:
            print(f"set aside  {each.name}: {each.reason}")


def score_of(path: Path, name: str) -> tuple[Score, str | None]:
    """The score of one file, and its text."""
    data, kind = path.read_bytes(), path.suffix.lower()
    started = time.perf_counter()
    try:
        text = to_document(SourceFile(str(path), name, len(data)), data).text
    except Unreadable as reason:
        return Score(name, kind, str(reason), seconds=time.perf_counter() - started), None
    seconds = time.perf_counter() - started
    wanted = words_of(_whole(_CUT.sub(r"\1", reference(path) or ""), kind))
    got = words_of(_whole(text, kind))
    return Score(
        name,
        kind,
        "",
        _share(wanted, got),
        _share(list(pairwise(wanted)), list(pairwise(got))),
        len(_CONTROL.findall(text)),
        len(text),
        seconds,
    ), text


def _whole(text: str, kind: str) -> str:
    """The text of a PDF with words for letters that stand apart."""
    return text if kind != ".pdf" else _SPACED.sub(lambda found: re.sub(r"\s", "", found[0]), text)


def table(scores: list[Score]) -> Iterator[str]:
    """A row of Markdown for each format."""
    yield "| format | files | set aside | scored | words | order | control characters | ms a file |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|"
    for kind, of_kind in _by_kind(scores):
        words = [each.words for each in of_kind if each.words is not None]
        order = [each.order for each in of_kind if each.order is not None]
        aside, controls = sum(bool(each.reason) for each in of_kind), sum(each.controls for each in of_kind)
        pace = 1000 * sum(each.seconds for each in of_kind) / len(of_kind)
        counts = f"{len(of_kind)} | {aside or ''} | {len(words) or ''}"
        yield f"| {kind[1:].upper()} | {counts} | {_mean(words)} | {_mean(order)} | {controls} | {pace:.0f} |"


def words_of(text: str) -> list[str]:
    """Words as search sees them: folded, without soft hyphens."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).replace("\u00ad", "").lower())


def reference(path: Path) -> str | None:
    """The text that another reader finds; None if there is none for the format, or it fails."""
    kind = path.suffix.lower()
    try:
        if kind in _PANDOC:
            return _program(
                "pandoc", "--track-changes=accept", "-f", _PANDOC[kind], "-t", "plain", "--wrap=none", str(path)
            )
        if kind == ".pdf":
            return _program("pdftotext", str(path), "-")
        if kind == ".pptx":
            return "\n".join(_of_slides(path))
        if kind in (".html", ".htm", ".xhtml"):
            return _of_page(path)
        if kind == ".xlsx":
            return _of_workbook(path)
    except Exception as error:
        print(f"no reference for {path.name}: {type(error).__name__}: {error}")
    return None


def _program(*line: str) -> str | None:
    try:
        done = subprocess.run(line, capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _of_slides(path: Path) -> Iterator[str]:
    from pptx import Presentation

    def texts(shape: Any) -> Iterator[str]:
        for inner in getattr(shape, "shapes", ()):
            yield from texts(inner)
        if getattr(shape, "has_text_frame", False):
            yield shape.text_frame.text
        if getattr(shape, "has_table", False):
            yield from (cell.text for row in shape.table.rows for cell in row.cells)

    for slide in Presentation(str(path)).slides:
        for shape in slide.shapes:
            yield from texts(shape)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            yield slide.notes_slide.notes_text_frame.text


def _of_page(path: Path) -> str:
    import lxml.html

    tree: Any = lxml.html.fromstring(path.read_bytes())
    for node in tree.xpath("//script|//style|//head|//comment()|//noscript|//template"):
        if node.getparent() is not None:
            node.drop_tree()
    return " ".join(map(str, tree.itertext()))


def _of_workbook(path: Path) -> str:
    from openpyxl import load_workbook  # pyright: ignore[reportMissingModuleSource]

    book = load_workbook(path, data_only=True)
    values = (value for sheet in book for row in sheet.values for value in row if value is not None)
    return "\n".join(
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values
    )


def _share(wanted: list[Any], got: list[Any]) -> float | None:
    want, have = collections.Counter(wanted), collections.Counter(got)
    return sum(min(want[each], have[each]) for each in want) / want.total() if want else None


def _mean(shares: list[float]) -> str:
    return f"{sum(shares) / len(shares):.3f}" if shares else ""


def _by_kind(scores: list[Score]) -> Iterator[tuple[str, list[Score]]]:
    kinds = sorted({each.kind for each in scores})
    yield from ((kind, [each for each in scores if each.kind == kind]) for kind in kinds)


if __name__ == "__main__":
    main()
