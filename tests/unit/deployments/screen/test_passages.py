"""The shown part of a passage, and the marked words in it."""

from deployments.screen.passages import excerpt, marked

PASSAGE = (
    "# Slides\n\nrst2s5 is a front end for S5, a system by Eric Meyer.\n\nIt needs Python. "
    "Uses reStructuredText as input. Presentations can be viewed in a browser.\n"
)


def test_the_stretch_with_the_names_of_the_question_is_shown() -> None:
    question = "What did Eric Meyer create that turns reStructuredText into a presentation in the browser?"
    assert "by Eric Meyer" in excerpt(PASSAGE, question, most=70)


def test_nothing_in_common_still_shows_something() -> None:
    assert excerpt("Only this. And that.", "zebra") != ""
    assert excerpt("", "zebra") == ""


def test_words_are_marked_in_every_form() -> None:
    text = marked("The browsers present it.", "Which browser presents?")
    assert [text.plain[span.start : span.end] for span in text.spans] == ["browsers", "present"]
