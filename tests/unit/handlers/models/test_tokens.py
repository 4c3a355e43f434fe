"""Tokens: words counted one by one are as many as the tokenizer finds in the whole text."""

from hypothesis import given
from hypothesis import strategies as st

from handlers.models import count_tokens
from handlers.models.tokens import whole_text_tokens

ODD = "\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u202f\u205f\u3000\u200b\u00ad"
PIECES = st.one_of(
    st.sampled_from(
        ["the", "unbelievable", "WAL", "[UNK]", "[SEP]", "ไทย", "数据库", "é", "e\u0301", "ﬁ", "x" * 120, "..."]
    ),
    st.sampled_from(list(ODD + " \n\t\r")),
    st.text("数据かなカナ한글\u3400\u4db5\u9fef\u9ff0\ufa0e\U00020000\u0301。a ", max_size=8),
    st.text(max_size=4),
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_words_add_up_to_the_whole(text: str) -> None:
    assert count_tokens(text) == count_tokens(text) == whole_text_tokens(text)
