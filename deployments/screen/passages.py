"""The sentences of a passage that answer a question best, with the words of the question marked."""

import re

from rich.text import Text

# A dot inside a number or a name does not end a sentence; full stops of other scripts need no space after them.
_SENTENCE = re.compile(r"(?:[^.!?\n。！？｡।؟]|[.!?](?!\s|$))+(?:[.!?]+|[。！？｡।؟]+|\n\s*\n|\n|$)\s*")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def excerpt(content: str, question: str, *, most: int = 320) -> str:
    """Consecutive whole sentences of `content`, about `most` characters, with the most words of the question."""
    wanted = _weights(question)
    flowing = (
        re.sub(r"(?<!\n)\n(?!\n)", " ", re.sub(r"^#{1,6} .*$", "", content, flags=re.MULTILINE)).strip() or content
    )
    sentences = [match.group() for match in _SENTENCE.finditer(flowing)] or [flowing]
    best, best_score = "", -1.0
    for start in range(len(sentences)):
        stretch = ""
        for sentence in sentences[start:]:
            if stretch and len(stretch) + len(sentence) > most:
                break
            stretch += sentence
            # Usually only a few words of a question matter, and fewer sentences with the same words read better.
            found = sum(wanted[stem] for stem in _stems(stretch) & wanted.keys())
            score = found - len(stretch) / (4.0 * most)
            if score > best_score:
                best, best_score = stretch, score
    shown = " ".join(best.split())
    return shown if len(shown) <= 2 * most else f"{shown[: 2 * most]}…"


def marked(text: str, question: str) -> Text:
    """`text` with the words that it shares with the question in bold yellow."""
    from handlers.retrieval import highlights

    found = Text(text)
    for start, end in highlights(text, _stems(question)):
        found.stylize("bold yellow", start, end)
    return found


def _weights(question: str) -> dict[str, float]:
    """The weight of each word of a question; names weigh most."""
    weights = dict.fromkeys(_stems(question), 1.0)
    for match in list(_WORD.finditer(question))[1:]:
        if match.group()[0].isupper():
            weights |= dict.fromkeys(_stems(match.group()), 3.0)
    return weights


def _stems(text: str) -> set[str]:
    from handlers.text import terms

    return set(terms(text))
