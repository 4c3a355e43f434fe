"""Terms: one folding for documents and queries, in every script."""

import threading

import pytest

from handlers.text import terms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The rows, the ROWS and a row’s key", ["row", "row", "row", "key"]),
        ("running runners ran", ["run", "runner", "ran"]),
        ("RFC 7231, CVE-2021-44228 and snake_case", ["rfc", "7231", "cve", "2021", "44228", "snake", "case"]),
        ("don’t can't it's we've O'Reilly's", ["o'reilli"]),
        ("ﬁle ＡＢＣ Cafe\u0301", ["file", "abc", "café"]),
        ("数据库abc数", ["数据", "据库", "abc", "数"]),
        ("データベース", ["デー", "ータ", "タベ", "ベー", "ース"]),
        ("데이터를", ["데이", "이터", "터를"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("Größe ЖУРНАЛ", ["grösse", "журнал"]),
        ("the of and", []),
        ("— … !", []),
        ("", []),
    ],
)
def test_terms_are_folded_stemmed_and_without_stop_words(text: str, found: list[str]) -> None:
    assert terms(text) == found


def test_terms_are_the_same_in_every_thread() -> None:
    texts = [" ".join(f"normalisation{i} running{j} databases" for i in range(20)) for j in range(50)]
    alone = [terms(text) for text in texts]
    results: dict[int, list[list[str]]] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: [terms(text) for text in texts]})) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[n] for n in range(4)] == [alone] * 4
