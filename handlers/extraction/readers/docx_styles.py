"""The styles of DOCX: those that are headings, and the marks of numbered paragraphs."""

from collections import defaultdict

from lxml import etree

from handlers.extraction.package import Package, local_name

_DEEPEST = 20


def attribute(node: etree._Element | None, name: str = "val") -> str:
    """An attribute of WordprocessingML, in any of its namespaces."""
    if node is None:
        return ""
    return next((str(value) for key, value in node.items() if str(key).rpartition("}")[2] == name), "")


def is_on(parent: etree._Element | None, name: str) -> bool:
    """Whether a switch such as `vanish` is set."""
    node = None if parent is None else parent.find(f"{{*}}{name}")
    return node is not None and attribute(node) not in ("0", "false", "off", "none")


class Styles:
    """The heading levels, hidden text and numbering of paragraph styles."""

    def __init__(self, package: Package, main: str) -> None:
        self._styles: dict[str, etree._Element] = {}
        for part in package.related(main, "styles"):
            for style in package.xml(part).iter("{*}style"):
                self._styles[attribute(style, "styleId")] = style

    def heading_level(self, style_id: str) -> int:
        """1 to 9 for headings, 0 for all other styles; a title has level 1."""
        for style in self._chain(style_id):
            name = attribute(style.find("{*}name")).lower()
            if name in ("title", "titel"):
                return 1
            outline = attribute(style.find("{*}pPr/{*}outlineLvl"))
            if outline.isdigit() and int(outline) < 9:
                return int(outline) + 1
            if name.startswith("heading ") and name[8:].isdigit():
                return int(name[8:])
        return 0

    def numbering(self, style_id: str) -> tuple[str, str]:
        """The list and the level in it of paragraphs of a style."""
        number, level = "", ""
        for style in self._chain(style_id):
            found = style.find("{*}pPr/{*}numPr")
            number = number or attribute(None if found is None else found.find("{*}numId"))
            level = level or attribute(None if found is None else found.find("{*}ilvl"))
        return number, level

    def is_hidden(self, style_id: str) -> bool:
        return any(is_on(style.find("{*}rPr"), "vanish") for style in self._chain(style_id))

    def _chain(self, style_id: str) -> list[etree._Element]:
        """A style and the styles that it is based on."""
        found: list[etree._Element] = []
        while style_id in self._styles and len(found) < _DEEPEST:
            found.append(self._styles[style_id])
            style_id = attribute(found[-1].find("{*}basedOn"))
        return found


class Numbering:
    """Counts the paragraphs of lists, to write the marks that Word shows before them."""

    def __init__(self, package: Package, main: str) -> None:
        self._lists: dict[str, str] = {}
        self._formats: dict[tuple[str, int], tuple[str, str, int]] = {}
        self._counts: dict[str, dict[int, int]] = defaultdict(dict)
        for part in package.related(main, "numbering"):
            root = package.xml(part)
            for found in root.iter("{*}num"):
                self._lists[attribute(found, "numId")] = attribute(found.find("{*}abstractNumId"))
            for abstract in root.iter("{*}abstractNum"):
                for level in abstract.iter("{*}lvl"):
                    self._add(attribute(abstract, "abstractNumId"), level)

    def _add(self, abstract: str, level: etree._Element) -> None:
        depth, start = attribute(level, "ilvl"), attribute(level.find("{*}start"))
        if depth.isdigit():
            self._formats[abstract, int(depth)] = (
                attribute(level.find("{*}numFmt")),
                attribute(level.find("{*}lvlText")),
                int(start) if start.isdigit() else 1,
            )

    def mark(self, number: str, depth: int) -> str:
        """The mark of the next paragraph of a list at a depth: `-`, a number such as `2.1`, or empty."""
        abstract = self._lists.get(number)
        if abstract is None or number == "0":
            return ""
        kind, template, start = self._formats.get((abstract, depth), ("bullet", "", 1))
        if kind == "none":
            return ""
        counts = self._counts[abstract]
        counts[depth] = counts.get(depth, start - 1) + 1
        for deeper in [each for each in counts if each > depth]:
            del counts[deeper]
        if kind == "bullet":
            return "-"
        written = template
        for above in range(depth + 1):
            style, _, first = self._formats.get((abstract, above), ("decimal", "", 1))
            written = written.replace(f"%{above + 1}", counted(counts.get(above, first), style))
        return written.strip() or "-"


def counted(number: int, style: str) -> str:
    """A number as lists write it: decimal, in letters, or Roman."""
    match style:
        case "lowerLetter" | "upperLetter":
            letters = chr(ord("a") + (number - 1) % 26) * (1 + (number - 1) // 26) if 0 < number < 1000 else str(number)
            return letters if style == "lowerLetter" else letters.upper()
        case "lowerRoman" | "upperRoman":
            return _roman(number) if style == "lowerRoman" else _roman(number).upper()
        case _:
            return str(number)


def _roman(number: int) -> str:
    if not 0 < number < 4000:
        return str(number)
    written = ""
    values = (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1)
    for value, letters in zip(values, "m cm d cd c xc l xl x ix v iv i".split(), strict=True):
        written += letters * (number // value)
        number %= value
    return written


def math_text(node: etree._Element) -> str:
    """A formula on one line: fractions with a slash, superscripts with ^, subscripts with _."""
    name = local_name(node)
    parts = {local_name(child): child for child in node}
    match name:
        case "t":
            return node.text or ""
        case "f" if "num" in parts and "den" in parts:
            return f"({math_text(parts['num'])})/({math_text(parts['den'])})"
        case "sSup" | "sSub" | "sSubSup":
            lowered = f"_{math_text(parts['sub'])}" if "sub" in parts else ""
            raised = f"^{math_text(parts['sup'])}" if "sup" in parts else ""
            return math_text(parts["e"]) + lowered + raised if "e" in parts else lowered + raised
        case "rad":
            return f"√({math_text(parts['e'])})" if "e" in parts else "√"
        case "nary":
            character = attribute(next(node.iter("{*}chr"), None)) or "∫"
            bounds = [f"{mark}{math_text(parts[key])}" for mark, key in (("_", "sub"), ("^", "sup")) if key in parts]
            return f" {character}{''.join(bounds)} {math_text(parts['e']) if 'e' in parts else ''}"
        case "d":
            return f"({', '.join(math_text(child) for child in node if local_name(child) == 'e')})"
        case "mr":
            return " ".join(math_text(child) for child in node) + "; "
        case _:
            texts = [(local_name(child) == "r", math_text(child)) for child in node]
            return "".join(text if is_run else f" {text} " for is_run, text in texts).replace("  ", " ").strip()
