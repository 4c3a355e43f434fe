"""Text recognition (OCR): the words in pictures of pages, each with the confidence of the engine that read it.

RapidOCR carries its models in its package; tesseract is a program of the machine. Neither asks a network for anything.
"""

import csv
import importlib.util
import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from flows.author import Call
from handlers.extraction.assembly import Assembly, printable
from handlers.extraction.formats import PDF, Extracted, Unreadable
from handlers.extraction.pdfium import open_page, open_pdf
from handlers.records import Block, RecognisedWord

OcrMode: TypeAlias = Literal["auto", "always", "never"]
Engine: TypeAlias = Literal["rapidocr", "tesseract"]
_DPI = 200
_MOST_PIXELS = 40_000_000
_PARAGRAPH_GAP = 0.8
"""The space above a line, in heights of lines, from which it begins a paragraph."""


def installed_engines() -> tuple[Engine, ...]:
    """The engines that can be used here, the better one first."""
    found: list[Engine] = []
    if importlib.util.find_spec("rapidocr") is not None and importlib.util.find_spec("onnxruntime") is not None:
        found.append("rapidocr")
    if shutil.which("tesseract") is not None:
        found.append("tesseract")
    return tuple(found)


@dataclass(frozen=True)
class Recognition:
    """The service `recognition`: the engine that reads pictures, and how sure of a page it must be."""

    engine: Engine | None = None
    min_confidence: float = 0.6
    languages: str = "eng"
    """Of tesseract, joined by `+`; RapidOCR's models know those with Latin letters, Chinese and Japanese."""

    @classmethod
    def chosen(cls, engine: str, min_confidence: float, languages: str) -> "Recognition":
        """As settings describe it: `auto` takes the best engine that is installed, `none` takes none."""
        installed = installed_engines()
        wanted = [each for each in installed if engine in ("auto", each)]
        return cls(wanted[0] if wanted else None, min_confidence, languages)


HOW_TO_GET_AN_ENGINE = "install the extra `ocr` or tesseract, and run again with --retry-failed"


def recognition_of(call: Call) -> Recognition:
    """The recognition of a run; without the service, there is no engine."""
    return call.services["recognition"] if "recognition" in call.services else Recognition()


class PageWord(NamedTuple):
    """A word in a picture; positions count from its upper left corner."""

    text: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float


class RecognisedPage(NamedTuple):
    """The words of a page in reading order: paragraphs of lines of words."""

    number: int
    paragraphs: list[list[list[PageWord]]]

    @property
    def confidence(self) -> float:
        """The mean over all letters; 0 for a page without words."""
        words = [word for lines in self.paragraphs for line in lines for word in line]
        letters = sum(len(word.text) for word in words)
        return sum(len(word.text) * word.confidence for word in words) / letters if letters else 0.0


def recognise(data: bytes, mime_type: str, pages: Sequence[int], recognition: Recognition) -> Iterator[RecognisedPage]:
    """Read pages of a PDF or of a picture, counted from 1; called by the service `parsers`.

    Raises:
        Unreadable: it cannot be shown, or is too large.
    """
    read = {"rapidocr": _with_rapidocr, "tesseract": _with_tesseract}[cast("Engine", recognition.engine)]
    for number in pages:
        picture = _page_of_pdf(data, number) if mime_type == PDF else _frame(data, number)
        yield RecognisedPage(number, read(picture, recognition))


def frames_of(data: bytes) -> int:
    """How many pictures are in a file.

    Raises:
        Unreadable: it is no picture, or is damaged.
    """
    return int(getattr(_opened(data), "n_frames", 1))


def _page_of_pdf(data: bytes, number: int) -> Any:
    with open_pdf(data) as pdf:
        page = open_page(pdf, number - 1)
        width, height = page.get_size()
        scale = min(_DPI / 72, (_MOST_PIXELS / max(width * height, 1)) ** 0.5)
        return page.render(scale=scale).to_pil().convert("RGB")


def _frame(data: bytes, number: int) -> Any:
    from PIL import ImageOps

    picture = _opened(data)
    if picture.width * picture.height > _MOST_PIXELS:
        raise Unreadable(f"has {picture.width:,} × {picture.height:,} pixels, more than can be read")
    try:
        picture.seek(number - 1)
        return ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise Unreadable("is damaged: its picture cannot be shown; get a whole copy of it") from error


def _opened(data: bytes) -> Any:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable("is no picture that can be read, whatever its name says") from error


@cache
def _rapidocr() -> Any:
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    return RapidOCR(params={"Global.log_level": "error", **threads})


def _with_rapidocr(picture: Any, recognition: Recognition) -> list[list[list[PageWord]]]:
    import numpy as np

    found: Any = _rapidocr()(np.asarray(picture)[:, :, ::-1], return_word_box=True)
    lines: list[list[PageWord]] = []
    for line in found.word_results or ():
        words = [_word(str(text), float(confidence), box) for text, confidence, box in line if str(text).strip()]
        if words:
            lines.append(words)
    return _paragraphs(lines)


def _word(text: str, confidence: float, box: Sequence[Sequence[float]]) -> PageWord:
    across, down = [point[0] for point in box], [point[1] for point in box]
    return PageWord(text, confidence, min(across), min(down), max(across), max(down))


def _with_tesseract(picture: Any, recognition: Recognition) -> list[list[list[PageWord]]]:
    stored = io.BytesIO()
    picture.save(stored, "png")
    command = ["tesseract", "stdin", "stdout", "-l", recognition.languages, "--dpi", str(_DPI), "--psm", "1", "tsv"]
    ended = subprocess.run(command, input=stored.getvalue(), capture_output=True, check=False)
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines()
        raise Unreadable(f"cannot be read by tesseract: {said[0] if said else ended.returncode}")
    paragraphs: dict[tuple[str, str], dict[str, list[PageWord]]] = {}
    rows = csv.DictReader(io.StringIO(ended.stdout.decode("utf-8", "replace")), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        if row["level"] != "5" or not (row["text"] or "").strip():
            continue
        left, top = float(row["left"]), float(row["top"])
        box = (left, top, left + float(row["width"]), top + float(row["height"]))
        lines = paragraphs.setdefault((row["block_num"], row["par_num"]), {})
        lines.setdefault(row["line_num"], []).append(PageWord(row["text"], float(row["conf"]) / 100, *box))
    return [list(lines.values()) for lines in paragraphs.values()]


def _paragraphs(lines: list[list[PageWord]]) -> list[list[list[PageWord]]]:
    """Lines in reading order, also on a page that lies on its side or upside down, parted where a gap is wide."""
    across = [line[-1].left - line[0].left for line in lines if len(line) > 1]
    down = [line[-1].top - line[0].top for line in lines if len(line) > 1]
    right, under = (median(across), median(down)) if across else (1.0, 0.0)
    if abs(under) > abs(right):
        lines = sorted(lines, key=lambda line: line[0].left, reverse=under > 0)
        spans = [(-line[0].right, -line[0].left) if under > 0 else (line[0].left, line[0].right) for line in lines]
    elif right < 0:
        lines = sorted(lines, key=lambda line: line[0].bottom, reverse=True)
        spans = [(-line[0].bottom, -line[0].top) for line in lines]
    else:
        spans = [(min(word.top for word in line), max(word.bottom for word in line)) for line in lines]
    found: list[list[list[PageWord]]] = []
    for at, (line, (start, end)) in enumerate(zip(lines, spans, strict=True)):
        gap = start - spans[at - 1][1] if at else 0.0
        if found and -2 * (end - start) < gap < _PARAGRAPH_GAP * (end - start):
            found[-1].append(line)
        else:
            found.append([line])
    return found


def with_recognised(extracted: Extracted, pages: Sequence[RecognisedPage], recognition: Recognition) -> Extracted:
    """A document with the words of its scanned pages in their places, and what it says of them.

    Pages of which the engine is less sure than it must be are left out and named.
    """
    sure = {page.number: page for page in pages if page.paragraphs and page.confidence >= recognition.min_confidence}
    unsure = [page.number for page in pages if page.paragraphs and page.number not in sure]
    assembly, words = Assembly(), list[RecognisedWord]()
    by_page: dict[int, list[Block]] = {}
    for block in extracted.blocks:
        by_page.setdefault(block.page or 0, []).append(block)
    for number in sorted(by_page.keys() | sure.keys()):
        if number in sure:
            _write_page(sure[number], assembly, words)
        else:
            assembly.append(extracted.text, by_page[number])
    metadata = [*extracted.metadata]
    if sure:
        mean = sum(page.confidence for page in sure.values()) / len(sure)
        metadata += [("ocr", str(recognition.engine)), ("ocr_pages", _shown(list(sure)))]
        metadata.append(("ocr_confidence", f"{mean:.2f}"))
    if unsure:
        metadata.append(("ocr_pages_set_aside", _shown(unsure)))
    return Extracted(
        assembly.text, assembly.blocks, extracted.title, tuple(metadata), extracted.attachments, words=tuple(words)
    )


def reason_unread(pages: Sequence[RecognisedPage], recognition: Recognition) -> str:
    """Why a document of scanned pages alone has no text."""
    unsure = [page for page in pages if page.paragraphs]
    if not unsure:
        return "shows no words that can be recognised"
    best = max(page.confidence for page in unsure)
    return (
        f"is recognised too poorly: confidence {best:.2f}, less than {recognition.min_confidence:g} "
        "(BRAID_OCR_MIN_CONFIDENCE); scan it again with more dots per inch"
    )


def _write_page(page: RecognisedPage, assembly: Assembly, words: list[RecognisedWord]) -> None:
    for lines in page.paragraphs:
        text, found = "", list[tuple[int, int, float]]()
        for line in lines:
            for at, word in enumerate(line):
                said = " ".join(printable(word.text).split())
                if not said:
                    continue
                text += ("\n" if at == 0 else " ") if text else ""
                found.append((len(text), len(text) + len(said), word.confidence))
                text += said
        before = len(assembly.blocks)
        assembly.add("paragraph", text, page=page.number)
        if len(assembly.blocks) > before:
            start = assembly.blocks[-1].start
            words.extend(RecognisedWord(start + a, start + b, round(sure, 3), page.number) for a, b, sure in found)


def _shown(pages: Sequence[int]) -> str:
    return ", ".join(map(str, pages[:20])) + (f" and {len(pages) - 20} more" if len(pages) > 20 else "")
