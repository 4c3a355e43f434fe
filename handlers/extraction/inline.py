"""Inline Markdown, as kreuzberg makes it of HTML, to the words a reader sees; and telling navigation from content."""

import re

_IMAGE = re.compile(r"!\[([^\]]*)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(((?:[^()\s]|\([^()]*\))*)(?:\s+\"[^\"]*\")?\)")
_PERMALINK = re.compile(r"\[[¶#§🔗]\]\([^)]*\)")
_STRONG = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)(.+?)(?<=\S)\1(?![\w*])", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!<>~|$])")
_DIRECTIONS = {"prev", "previous", "next", "up", "home", "top", "back", "zurück", "weiter", "contents", "index"}


def plain(text: str) -> str:
    """The words: links become their text, images their alternative text; marks of emphasis and escapes go."""
    text = _IMAGE.sub(_described, _PERMALINK.sub("", text))
    text = _LINK.sub(r"\1", text)
    text = _STRONG.sub(r"\2", text)
    text = _ESCAPE.sub(r"\1", text).replace("\xa0", " ")
    return re.sub(r"[ \t]*\n(?:[ \t]*\n)*[ \t]*", "\n", re.sub(r"[ \t]{2,}", " ", text)).strip()


def _described(image: re.Match[str]) -> str:
    # What generators put there when nobody described the picture.
    return "" if image[1].strip().lower() in {"image", "svg image", "img", "", "<-", "->"} else image[1]


def unlink_code(text: str) -> str:
    """Code without the links that documentation generators weave into it."""
    return _LINK.sub(lambda link: link[1] if re.search(r"[./#]", link[2]) else link[0], text)


def is_only_links(text: str) -> bool:
    """Whether nearly all letters stand in links or images: a menu, a bread crumb, a banner."""
    rest = _LINK.sub("", _IMAGE.sub("", text))
    return ("](" in text) and sum(map(str.isalnum, rest)) <= 0.25 * sum(map(str.isalnum, plain(text))) + 2


def is_direction(text: str) -> bool:
    """Whether this is only the label of an arrow, as `top` or `next`."""
    return (label := text.strip(" «»<>←→↑-").lower()) in _DIRECTIONS or (not label and bool(text))


def has_navigation(text: str) -> bool:
    """Whether these are links to the pages before and after, or back to the top."""
    words = {plain(link[1]).strip(" «»<>←→↑").lower() for link in _LINK.finditer(_IMAGE.sub(r"\1", text))}
    return bool(words) and (len(words & _DIRECTIONS) >= 2 or (words <= _DIRECTIONS))
