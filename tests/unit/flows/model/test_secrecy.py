"""Secrets: known by their names, and in no text of ours, whole or in part, in any encoding."""

import base64
import html
import json
import logging
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.author import ErrorInfo, ItemFailure
from flows.model import (
    HiddenValues,
    InvalidParameters,
    Pipeline,
    check_parameters,
    guard_logs,
    hide_secrets,
    is_secret_name,
    keep_secret,
    scrub,
    without_secrets,
)
from tests.support.profiles import scaled


@pytest.mark.parametrize(
    "name",
    "password passwd pwd db_pass passphrase passcode secret client_secret clientSecret api_key apikey apiKey X-API-Key "
    "authorization Authorization proxy-authorization authorisation token access_token accessToken authtoken auth_token "
    "github_token bearer_token credential credentials private_key PRIVATE_KEY signing_key access_key jwt cookie dsn "
    "db_password_2 smtp_pwd X-Auth-Token basic_auth".split(),
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    "tokens max_tokens total_tokens tokens_per_minute token_count author authors key keys primary_key sort_key keyword "
    "passage passages compass source url pass_rate bypass tokenizer index query name path region pinned storage_key".split(),
)
def test_names_of_what_is_no_secret(name: str) -> None:
    assert not is_secret_name(name)


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"], max_codepoint=0x2FF), min_size=12, max_size=40)
ENCODINGS = {
    "as it is": str,
    "json": json.dumps,
    "json of letters": lambda text: json.dumps(text, ensure_ascii=False),
    "url": lambda text: quote(text, safe=""),
    "small url": lambda text: quote(text, safe="").lower(),
    "form": lambda text: urlencode({"q": text}),
    "plus": quote_plus,
    "repr": repr,
    "bytes": lambda text: repr(text.encode()),
    "html": html.escape,
    "url of every letter": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "json of every letter": lambda text: "".join(f"\\u{ord(each):04X}" for each in text),
    "json with slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "json in json": lambda text: json.dumps(json.dumps(text)),
    "escaped bytes": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "octal bytes": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "html of every letter": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "html in hexadecimal": lambda text: "".join(f"&#x{ord(each):x};" for each in text),
    "base64 in a url": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "hex": lambda text: text.encode().hex(),
    "large hex": lambda text: text.encode().hex().upper(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 with a user": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 within": lambda text: base64.b64encode(f'{{"pw": "{text}", "n": 1}}'.encode()).decode(),
}


@settings(max_examples=scaled(60))
@given(
    value=VALUES,
    encoding=st.sampled_from(sorted(ENCODINGS)),
    around=st.tuples(st.text(max_size=9), st.text(max_size=9)),
)
def test_no_eight_letters_of_a_secret_remain_in_any_encoding(
    value: str, encoding: str, around: tuple[str, str]
) -> None:
    encoded = ENCODINGS[encoding](value)
    shown = HiddenValues([value]).hide(f"{around[0]} {encoded} {around[1]}").lower()
    # What was around it may happen to have the same letters, and the edges of base64 depend on its neighbours.
    for start in range(2, len(encoded) - 12):
        part = encoded[start : start + 8].lower()
        assert part not in shown or part in "".join(around).lower() or encoding.startswith("base64 "), part
    if encoding.startswith("base64 "):
        assert encoded.lower() not in shown
        assert shown.count("*") >= 3


@settings(max_examples=scaled(60))
@given(VALUES, st.data())
def test_no_part_of_eight_letters_is_shown(value: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(value) - 8))
    end = data.draw(st.integers(start + 8, len(value)))
    assert HiddenValues([value]).hide(f"\n{value[start:end]}\n") == "\n***\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hush@host/x", "https://me:***@host/x"),
        ("at postgresql+psycopg://me:p@ss@db:5432/x, then", "at postgresql+psycopg://me:***@db:5432/x, then"),
        ("redis://:hush@host/0", "redis://:***@host/0"),
        ("https://ghp_0123456789abcdefghij@github.com/x", "https://***@github.com/x"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("https://host/x?page=2&api_key=abc&sig=def#top", "https://host/x?page=2&api_key=***&sig=***#top"),
        ("('https://a:b@c', 'https://d:e@f')", "('https://a:***@c', 'https://d:***@f')"),
        ("{'Authorization': 'Bearer abcdef'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: Basic dXNlcjpwdw==", "authorization: Basic ***"),
        ("a basic understanding: of tokens", "a basic understanding: of tokens"),
    ],
)
def test_passwords_in_urls_and_headers_are_hidden_without_being_known(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown


def test_of_a_url_only_its_secrets_are_hidden() -> None:
    hidden = HiddenValues(["postgresql+psycopg://somebody:correct%20horse@database.example.com/sales?sslkey=1"])
    assert hidden.hide("no database.example.com for somebody, correct horse, correct%20horse") == (
        "no database.example.com for somebody, ***, ***"
    )


def test_short_secrets_are_hidden_where_they_stand_alone() -> None:
    assert HiddenValues(["hunt", "abc"]).hide("hunt hunter abc 'HUNT'") == "*** hunter abc '***'"


PIPELINE = Pipeline.model_validate(
    {"name": "p", "steps": ["x"], "parameters": {"pwd": {"choices": ["a"]}, "size": {"type": "integer"}, "where": {}}}
)


def test_a_parameter_that_does_not_fit_does_not_show_a_secret() -> None:
    with pytest.raises(InvalidParameters) as refused:
        check_parameters(PIPELINE, {"pwd": "trombone-sunrise", "size": "https://me:hush-hush@host"})
    assert "parameter 'pwd' must be one of a" in str(refused.value)
    assert "trombone" not in str(refused.value)
    assert "hush" not in str(refused.value)


def test_values_of_secret_parameters_are_hidden_in_other_parameters_errors_and_failures() -> None:
    check_parameters(PIPELINE, {"pwd": "a", "where": "x"})
    kept = without_secrets(
        {"pwd": "marmalade-skies", "where": "file:///marmalade-skies/in", "list": ["marmalade-skies"]}
    )
    assert kept == {"pwd": "***", "where": "file:///***/in", "list": ["***"]}
    assert ErrorInfo("ValueError", "no marmalade-skies here").message == "no *** here"
    assert ItemFailure("a.txt", "marmalade-skies").error == "***"


def test_errors_are_scrubbed_with_their_causes_and_notes() -> None:
    keep_secret(["velvet-underground"])
    cause = OSError("login velvet-underground")
    error = ValueError("velvet-underground", 7)
    error.__cause__ = cause
    error.add_note("velvet-underground")
    scrub(error)
    assert (error.args, cause.args, error.__notes__) == (("***", 7), ("login ***",), ["***"])


def test_log_records_show_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    keep_secret(["purple-elephants"])
    before = logging.getLogRecordFactory()
    guard_logs()
    guard_logs()
    try:
        log = logging.getLogger("some.library")
        log.warning("with %s and %s at https://me:hush@host", "purple-elephants", 7)
        try:
            raise ValueError("purple-elephants")
        except ValueError:
            log.exception("it failed")
    finally:
        logging.setLogRecordFactory(before)
    assert "with *** and 7 at https://me:***@host" in caplog.text
    assert "ValueError: ***" in caplog.text
    assert "purple" not in caplog.text
