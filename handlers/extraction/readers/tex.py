"""LaTeX: headings, paragraphs, lists, tables and code; formulas stay as written."""

import re

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted

_LEVELS = {
    "part": 1,
    "chapter": 1,
    "section": 2,
    "subsection": 3,
    "subsubsection": 4,
    "paragraph": 5,
    "subparagraph": 6,
}
_ENVIRONMENT = re.compile(
    r"\\begin\{(verbatim|Verbatim|lstlisting|minted|alltt|tabular\*?|tabularx|longtable|itemize|enumerate|description|"
    r"equation\*?|align\*?|gather\*?|multline\*?|eqnarray\*?|displaymath)\}"
)
_HEADING = re.compile(
    r"\\(part|chapter|section|subsection|subsubsection|paragraph|subparagraph)\*?(?:\[[^\]]*\])?(?=\{)"
)
_COMMENT = re.compile(r"(?<!\\)%[^\n]*\n?")
_HIDDEN = re.compile(
    r"\\(?:label|ref|cite\w*|eqref|pageref|autoref|index|includegraphics|usepackage|documentclass|bibliography\w*|vspace|hspace"
    r"|setlength|input|include|pagestyle|thispagestyle|hline|cline|toprule|midrule|bottomrule|centering|noindent|maketitle"
    r"|tableofcontents|newpage|clearpage|begin|end|small|large|Large|footnotesize|raggedright|par|bibliographystyle|newcommand"
    r"|renewcommand|setcounter|geometry|hypersetup|nocite)\b\*?(?:\[[^\]]*\])*(?:\{[^{}]*\})*"
)
_ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307"} | {
    "c": "\u0327",
    "v": "\u030c",
    "u": "\u0306",
    "H": "\u030b",
    "k": "\u0328",
    "r": "\u030a",
    "b": "\u0331",
    "d": "\u0323",
}
_ACCENT = re.compile(r"\\(?:(['`^\"~=.])\s*|([cvuHkrbd])(?=[{\s]))\s*(?:\{(\\?[A-Za-z]?)\}|(\\?[A-Za-z]))")
_LETTERS = {
    "ss": "ß",
    "ae": "æ",
    "AE": "Æ",
    "oe": "œ",
    "OE": "Œ",
    "o": "ø",
    "O": "Ø",
    "aa": "å",
    "AA": "Å",
    "l": "ł",
    "L": "Ł",
} | {
    "i": "ı",
    "j": "ȷ",
    "ldots": "…",
    "dots": "…",
    "textendash": "–",
    "textemdash": "—",
    "LaTeX": "LaTeX",
    "TeX": "TeX",
    "textbackslash": "\\",
    "quad": " ",
    "qquad": " ",
    "S": "§",
    "copyright": "©",
    "euro": "€",
    "texteuro": "€",
}
_LETTER = re.compile(r"\\([A-Za-z]+)(?![A-Za-z])(?:\{\})?[ \t]?")
_MATH = re.compile(r"(\$\$.*?\$\$|\$[^$]*\$|\\\[.*?\\\]|\\\(.*?\\\))", re.DOTALL)


def read_tex(text: str) -> Extracted:
    """The document's body, or the whole text if it is part of a larger document."""
    text = _COMMENT.sub("", text)
    assembly = Assembly()
    title, author = (" ".join(_plain(_argument(text, name)).split()) for name in ("title", "author"))
    begin, end = text.find(r"\begin{document}"), text.rfind(r"\end{document}")
    if begin >= 0:
        text = text[begin + 16 : end if end > begin else len(text)]
    if title and begin >= 0:
        assembly.heading(title, 1)
        assembly.add("paragraph", author)
    _write(text, assembly)
    return Extracted(assembly.text, assembly.blocks, title, (("authors", author),) if author else ())


def _write(text: str, assembly: Assembly) -> None:
    at = 0
    endless = set[str]()
    for found in _ENVIRONMENT.finditer(text):
        if found.start() < at or found[1] in endless:
            continue
        closing = f"\\end{{{found[1]}}}"
        end = text.find(closing, found.end())
        if end < 0:
            endless.add(found[1])
            continue
        _write_prose(text[at : found.start()], assembly)
        _write_environment(found[1], text[found.end() : end], assembly)
        at = end + len(closing)
    _write_prose(text[at:], assembly)


def _write_environment(name: str, body: str, assembly: Assembly) -> None:
    match name.rstrip("*"):
        case "tabular" | "tabularx" | "longtable":
            body = re.sub(r"\A(?:\[[^\]]*\]|\{(?:[^{}]|\{[^{}]*\})*\})+", "", body.lstrip())
            rows = [re.split(r"(?<!\\)&", row) for row in re.split(r"\\\\(?:\[[^\]]*\])?", body)]
            assembly.table([[_plain(cell) for cell in row] for row in rows])
        case "itemize" | "enumerate" | "description":
            before, *items = re.split(r"\\item\b", body)
            _write_prose(before if any(map(str.isalnum, _plain(before))) else "", assembly)
            lines = [_plain(re.sub(r"\A\s*\[([^\]]*)\]", r" \1: ", item)).strip() for item in items]
            marks = [f"{number}." if name == "enumerate" else "-" for number in range(1, len(lines) + 1)]
            assembly.add("list", "\n".join(f"{mark} {line}" for mark, line in zip(marks, lines, strict=True) if line))
        case "equation" | "align" | "gather" | "multline" | "eqnarray" | "displaymath":
            assembly.add("paragraph", re.sub(r"\\label\{[^}]*\}", "", body))
        case _:
            assembly.code(re.sub(r"\A[ \t]*(?:\[[^\]]*\]|\{[^}]*\})*", "", body))


def _write_prose(text: str, assembly: Assembly) -> None:
    at = 0
    for found in _HEADING.finditer(text):
        _write_paragraphs(text[at : found.start()], assembly)
        heading, at = _braced(text, found.end())
        assembly.heading(_plain(heading), _LEVELS[found[1]])
    _write_paragraphs(text[at:], assembly)


def _write_paragraphs(text: str, assembly: Assembly) -> None:
    for paragraph in re.split(r"\n[ \t]*\n|\\par\b", text):
        plain = _plain(paragraph)
        if any(map(str.isalnum, plain)):
            assembly.add("paragraph", plain)


def _plain(text: str) -> str:
    """The words without commands; formulas stay unchanged."""
    parts = _MATH.split(text)
    parts[::2] = [_words(part) for part in parts[::2]]
    return re.sub(r"[ \t]{2,}", " ", re.sub(r"[ \t]*\n[ \t]*", "\n", "".join(parts))).strip()


def _words(text: str) -> str:
    text = _HIDDEN.sub(" ", text)
    text = _ACCENT.sub(_accented, text)
    text = text.replace(r"\\", "\n").replace("~", " ").replace("---", "—").replace("--", "–")
    text = text.replace("``", "“").replace("''", "”")
    text = _LETTER.sub(lambda command: _LETTERS.get(command[1], ""), text)
    text = re.sub(r"\\([&%$#_{}])", r"\1", re.sub(r"(?<!\\)[{}]", "", text))
    return re.sub(r"\\[,;:! /]", " ", text)


def _accented(found: re.Match[str]) -> str:
    import unicodedata

    letter = (found[3] if found[3] is not None else found[4]).removeprefix("\\")
    return unicodedata.normalize("NFC", letter + _ACCENTS[found[1] or found[2]])


def _argument(text: str, name: str) -> str:
    found = re.search(rf"\\{name}(?:\[[^\]]*\])?(?=\{{)", text)
    return _braced(text, found.end())[0] if found else ""


def _braced(text: str, at: int) -> tuple[str, int]:
    """The text inside the braces that open at a position, and the position after them."""
    depth = 0
    for end in range(at, len(text)):
        if text[end] == "{" and text[end - 1] != "\\":
            depth += 1
        elif text[end] == "}" and text[end - 1] != "\\":
            depth -= 1
            if not depth:
                return text[at + 1 : end], end + 1
    return text[at + 1 :], len(text)
