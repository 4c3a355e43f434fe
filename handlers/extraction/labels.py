"""Labels on web pages that do not describe their subject."""

DIRECTIONS = frozenset(
    ["prev", "previous", "next", "up", "home", "top", "back", "zurück", "weiter", "contents", "index"]
)
_NOTHING = frozenset(["image", "svg image", "img", "", "<-", "->"])


def described(alternative: str) -> str:
    """An image's alternative text; empty if it is only a placeholder word of a generator."""
    return "" if alternative.strip().lower() in _NOTHING else alternative


def is_direction(text: str) -> bool:
    """Whether this is only a navigation label such as `top` or `next`."""
    return (label := text.strip(" «»<>←→↑-").lower()) in DIRECTIONS or (not label and bool(text))
