"""Text recognition (OCR): the words in pictures of pages, each with the engine's confidence.

RapidOCR's package contains its models; tesseract is a program of the machine. Neither uses the network.
"""

import csv
import importlib.util
import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
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
"""The space above a line, in line heights, from which the line begins a new paragraph."""


def installed_engines() -> tuple[Engine, ...]:
    """The installed engines, the better one first."""
    found: list[Engine] = []
    if importlib.util.find_spec("rapidocr") is not None and importlib.util.find_spec("onnxruntime") is not None:
        found.append("rapidocr")
    if shutil.which("tesseract") is not None:
        found.append("tesseract")
    return tuple(found)


def missing_languages(recognition: "Recognition") -> list[str]:
    """The languages of a recognition by tesseract that are not installed."""
    if recognition.engine != "tesseract":
        return []
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=False)
    installed = {*listed.stdout.split("\n"), *listed.stderr.split("\n")}  # by version
    return [each for each in recognition.languages.split("+") if each not in installed]


@dataclass(frozen=True)
class Recognition:
    """The service `recognition`: the engine that reads pictures, and the least confidence that a page needs."""

    engine: Engine | None = None
    min_confidence: float = 0.6
    languages: str = "eng"
    """The languages of tesseract, joined by `+`; RapidOCR's models support languages in Latin letters, Chinese and
    Japanese.
    """

    @classmethod
    def chosen(cls, engine: Engine | Literal["auto", "none"], min_confidence: float, languages: str) -> "Recognition":
        """The recognition from settings: `auto` is the best installed engine, `none` is no engine."""
        installed = installed_engines()
        if engine == "auto":
            return cls(installed[0] if installed else None, min_confidence, languages)
        if engine == "none" or engine not in installed:
            return cls(None, min_confidence, languages)
        return cls(engine, min_confidence, languages)


HOW_TO_GET_AN_ENGINE = "install the extra `ocr` or tesseract, and run again with --retry-failed"


def recognition_of(call: Call) -> Recognition:
    """The recognition of a run; without the service, no engine."""
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
    """Recognise pages (from 1) of a PDF or picture; called by the service `parsers`.

    Raises:
        Unreadable: a page cannot be rendered, or is too large.
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
    try:
        picture.seek(number - 1)
        return ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise Unreadable("is damaged: its picture cannot be shown; get a whole copy of it") from error


def _opened(data: bytes) -> Any:
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unreadable("is not a readable picture, despite its name") from error
    if picture.width * picture.height > _MOST_PIXELS:
        raise Unreadable(f"has {picture.width:,} × {picture.height:,} pixels, more than can be read")
    return picture


@cache
def _rapidocr() -> Any:
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    # Keep all lines, even uncertain ones; the page's overall confidence decides about the page.
    return RapidOCR(params={"Global.log_level": "critical", "Global.text_score": 0.0, **threads})


def _with_rapidocr(picture: Any, recognition: Recognition) -> list[list[list[PageWord]]]:
    lines = _lines_of_rapidocr(picture)
    turn = _turn_of(picture, lines)
    return _paragraphs(_lines_of_rapidocr(picture.rotate(turn, expand=True)) if turn else lines)


def _lines_of_rapidocr(picture: Any) -> list[list[PageWord]]:
    import numpy as np

    # Pass all options in each call, because the engine keeps those of the previous call.
    steps = {"use_det": True, "use_cls": True, "use_rec": True, "return_word_box": True}
    found: Any = _rapidocr()(np.asarray(picture)[:, :, ::-1], **steps)
    words = getattr(found, "word_results", None) or ()
    # If nothing was recognised, a line is one empty word.
    lines = [[_word(*word) for word in line if isinstance(word, tuple) and str(word[0]).strip()] for line in words]
    return [line for line in lines if line]


def _turn_of(picture: Any, lines: Sequence[Sequence[PageWord]]) -> int:
    """By how many degrees to turn a page to the left; lines are recognised in any orientation."""
    import numpy as np

    longest = sorted(lines, key=lambda line: -sum(len(word.text) for word in line))[:5]
    upright: list[bool] = []
    on_side: list[bool] = []
    for line in longest:
        left, top = min(word.left for word in line), min(word.top for word in line)
        right, bottom = max(word.right for word in line), max(word.bottom for word in line)
        crop = np.asarray(picture.crop((left, top, right, bottom)))[:, :, ::-1]
        on_side.append(bottom - top > 1.5 * (right - left))
        found: Any = _rapidocr()(np.rot90(crop) if on_side[-1] else crop, use_det=False, use_cls=True, use_rec=False)
        upright += [str(label) != "180" for label, _ in getattr(found, "cls_res", None) or ()]
    if not upright:
        return 0
    lies = 2 * sum(on_side) > len(on_side)
    stands_on_head = 2 * sum(upright) < len(upright)
    return (90 if lies else 0) + (180 if stands_on_head else 0)


def _word(text: str, confidence: float, box: Sequence[Sequence[float]]) -> PageWord:
    across, down = [point[0] for point in box], [point[1] for point in box]
    return PageWord(str(text), float(confidence), min(across), min(down), max(across), max(down))


def _with_tesseract(picture: Any, recognition: Recognition) -> list[list[list[PageWord]]]:
    """The page as it is; if that gives few words, in the orientation that gives the best result."""
    best = _turned_for_tesseract(picture, 0, recognition)
    if best.confidence < recognition.min_confidence:
        turned = (_turned_for_tesseract(picture, degrees, recognition) for degrees in (90, 180, 270))
        best = max((best, *turned), key=lambda page: page.confidence)
    return best.paragraphs


def _turned_for_tesseract(picture: Any, degrees: int, recognition: Recognition) -> RecognisedPage:
    stored = io.BytesIO()
    (picture.rotate(degrees, expand=True) if degrees else picture).save(stored, "png")
    command = ["tesseract", "stdin", "stdout", "-l", recognition.languages, "--dpi", str(_DPI), "--psm", "3", "tsv"]
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
    return RecognisedPage(0, [list(lines.values()) for lines in paragraphs.values()])


def _paragraphs(lines: Sequence[list[PageWord]]) -> list[list[list[PageWord]]]:
    """The lines from top to bottom, split into paragraphs at wide spaces."""
    found: list[list[list[PageWord]]] = []
    last = 0.0
    for line in lines:
        top, bottom = min(word.top for word in line), max(word.bottom for word in line)
        if found and -2 * (bottom - top) < top - last < _PARAGRAPH_GAP * (bottom - top):
            found[-1].append(line)
        else:
            found.append([line])
        last = bottom
    return found


def with_recognised(extracted: Extracted, pages: Sequence[RecognisedPage], recognition: Recognition) -> Extracted:
    """The document with the recognised words of its scanned pages in place, and metadata about them.

    Pages below the least confidence are left out, and the metadata lists them.
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
    """The reason why a document of only scanned pages has no text."""
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
