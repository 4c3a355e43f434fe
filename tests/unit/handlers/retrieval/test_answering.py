"""Answers: the prompt of the model, and the accepted citations."""

from collections.abc import Sequence
from typing import Any

import pytest

from flows.author import Call
from flows.state import Identity, Services
from handlers.models import Completion
from handlers.models.chat import Message
from handlers.records import Hit
from handlers.retrieval import location_of
from handlers.retrieval.answering import NOT_ANSWERED, answer_question, check_citations


class Scripted:
    """A language model with scripted answers."""

    name = "scripted"

    def __init__(self, says: str) -> None:
        self.says, self.prompts = says, list[str]()

    def complete(self, messages: Sequence[Message], **_: Any) -> Completion:
        self.prompts.append(messages[-1]["content"])
        return Completion(self.says, 12, 3, model=self.name)


def hits(count: int) -> list[Hit]:
    return [
        Hit(f"c{i}", f"d{i}", 1.0, f"fact {i} " * 50, "vector", name=f"f{i}.pdf", heading="H", page=i, start=5, end=90)
        for i in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("answer", "text", "cited", "unknown"),
    [
        ("It is so [1]. And so [2, 3].", "It is so [1]. And so [2, 3].", [1, 2, 3], ()),
        ("It is so [1, 9]; also [7].", "It is so [1]; also.", [1], (9, 7)),
        ("All of it [1-3], and [2–9].", "All of it [1, 2, 3], and [2, 3].", [1, 2, 3], (9,)),
        ("Nothing of it [7-9].", "Nothing of it.", [], (7, 9)),
        ("So [2][2;2] and [0].", "So [2][2] and.", [2], (0,)),
        ("A list[index] and [note], but no number.", "A list[index] and [note], but no number.", [], ()),
        ("ثابت [1]。[99]", "ثابت [1]。", [1], (99,)),
    ],
)
def test_only_passages_that_were_given_can_be_cited(
    answer: str, text: str, cited: list[int], unknown: tuple[int, ...]
) -> None:
    assert check_citations(answer, 3) == (text, cited, unknown)


def test_the_model_sees_numbered_passages_and_the_answer_knows_where_they_stand() -> None:
    model = Scripted("Yes [2], no [5].")
    call = Call(identity=Identity(services=Services({"chat": lambda: model})))
    answer = answer_question("why?", hits(4), ["A occurs with B"], most=3, most_characters=20, call=call)
    assert answer.text == "Yes [2], no."
    assert answer.unknown == (5,)
    [cited] = answer.citations
    assert (cited.number, cited.chunk_id, cited.document, cited.page, cited.start, cited.end) == (
        2,
        "c2",
        "f2.pdf",
        2,
        5,
        90,
    )
    assert location_of(cited) == "f2.pdf, page 2, H, characters 5–90"
    [prompt] = model.prompts
    assert "[3] f3.pdf, page 3, H, characters 5–90\nfact 3 fact 3 fact 3" in prompt
    assert "[4]" not in prompt
    assert "A occurs with B" in prompt
    assert prompt.endswith("Question: why?")
    assert call.costs["input_tokens"] == 12


def test_nothing_found_asks_nobody() -> None:
    assert answer_question("why?", [], call=Call()).text == NOT_ANSWERED
