"""The outputs of runs: complete for the caller; limited and without secrets wherever they are shown or kept."""

import base64
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import Context, handler, parallel, pipeline, run
from flows.author import OutputField, OutputRecord, Registry, outputs_json, record_outputs
from flows.author.outputs import LARGEST, LARGEST_TOGETHER
from flows.reports import result_markdown
from flows.run_store import RunStore
from flows.state import DiskSequence
from flows.storage import Storage


@dataclass(frozen=True)
class Found:
    name: str
    score: float
    tags: tuple[str, ...] = ()


def recorded(value: Any, **more: Any) -> OutputRecord:
    (record,) = record_outputs(Context({"found": value, **more}), [OutputField("found", "found")])
    return record


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ([Found("a", 0.5, ("x",))], [{"name": "a", "score": 0.5, "tags": ["x"]}]),
        (DiskSequence([1, 2]), [1, 2]),
        ({1: (True, None)}, {"1": [True, None]}),
        (np.array([[1.0, 2.0]]), [[1.0, 2.0]]),
        (np.zeros((100, 384), dtype=np.float32), "<array of float32, shape (100, 384)>"),
        (np.float32(0.5), 0.5),
        (float("nan"), "nan"),
        (b"abc", "<3 bytes>"),
        (date(2026, 1, 2), "2026-01-02"),
        ("a\0\ud800", "a\ufffd?"),
    ],
)
def test_values_become_plain_data(value: Any, plain: Any) -> None:
    record = recorded(value)
    assert (record.value, record.shortened) == (plain, False)
    json.dumps(record.value, allow_nan=False)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1_000_000,
        [{"text": "word " * 10, "number": number} for number in range(20_000)],
        {f"key {number}": "y" * 100 for number in range(10_000)},
        [[["deep" * 100] * 100] * 100] * 3,
    ],
)
def test_a_large_value_is_shortened_and_written_to_a_file_whole(value: Any) -> None:
    files: dict[str, bytes] = {}

    def keep(name: str, content: bytes) -> str:
        files[name] = content
        return f"memory://{name}"

    context, field = Context({"found": value}), OutputField("found", "found")
    (record,) = record_outputs(context, [field], keep_whole=keep)
    assert record.shortened
    assert record.uri == "memory://found"
    assert json.loads(files["found"]) == value
    assert len(json.dumps(record.value)) < 1.5 * LARGEST
    if isinstance(value, list) and isinstance(value[0], dict):
        assert record.value == value[: len(record.value)], "a list has whole items"
    assert outputs_json([record])["shortened_outputs"] == {"found": "memory://found"}


def test_all_outputs_together_are_limited() -> None:
    names = [f"text_{number}" for number in range(20)]
    context = Context(dict.fromkeys(names, "z" * (LARGEST - 10)))
    records = record_outputs(context, [OutputField(name, name) for name in names])
    assert len(records) == 20
    assert len(json.dumps([record.value for record in records])) < 1.1 * LARGEST_TOGETHER


def test_a_file_that_cannot_be_written_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def keep(name: str, content: bytes) -> str:
        raise OSError("the disk is full")

    (record,) = record_outputs(Context({"a": "x" * 300_000}), [OutputField("a", "a")], keep_whole=keep)
    assert (record.shortened, record.uri) == (True, None)
    assert "the disk is full" in caplog.text


SECRETS = st.text("abcdefXYZ0123456789_-", min_size=12, max_size=24)
NAMES = st.sampled_from(["api_key", "password", "client_secret", "auth_token"])
AROUND = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def places(secret: str) -> st.SearchStrategy[Any]:
    """Values that hold a secret somewhere: under the name of one, in a text, in a URL, in records and in lists."""
    texts = st.builds(lambda before, after: f"{before} {secret} {after}", AROUND, AROUND)
    leaves = st.one_of(
        texts,
        st.builds(lambda name: {name: secret}, NAMES),
        st.just(f"postgresql://user:{secret}@host/db"),
        st.just(Found(secret, 1.0, (secret,))),
        st.integers(),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b"]), inner), st.tuples(inner, inner)
        ),
        max_leaves=6,
    )


@given(st.data(), SECRETS, NAMES)
def test_secrets_never_appear_in_what_is_shown_or_kept(data: st.DataObject, secret: str, name: str) -> None:
    value = data.draw(places(secret))
    # Cut in the middle of a secret, too.
    long = "-" * data.draw(st.integers(LARGEST - 30, LARGEST)) + secret
    files: list[bytes] = []
    context = Context({name: secret, "value": value, "long": long})
    fields = [OutputField(each, each) for each in ("value", "long", name)]
    records = record_outputs(
        context, fields, keep_whole=lambda name, content: files.append(content) or "memory://whole"
    )
    shown = [json.dumps(outputs_json(records), ensure_ascii=False), result_markdown(records, fields)]
    for text in [*shown, *(content.decode() for content in files)]:
        assert secret not in text
        assert secret[:8] not in text
        assert base64.b64encode(secret.encode()).decode() not in text


def test_a_run_has_its_outputs_and_its_record_keeps_them(tmp_path: Path) -> None:
    registry = Registry()

    @handler(registry=registry)
    def words(text: str) -> list[str]:
        return text.split()

    @handler(registry=registry)
    def count(words: list[str]) -> int:
        return len(words)

    @handler(registry=registry)
    def copies(words: list[str]) -> list[str]:
        return words * 100_000

    @handler(registry=registry)
    def shout(context: Context) -> None:
        context.data["loud"] = "HO"

    services = {"storage": Storage(), "artifacts_url": str(tmp_path / "artifacts")}
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    many = pipeline("many", words, parallel(count, copies), shout, parameters={"text": {}})
    result = run(many, text="to be", registry=registry, services=services, store=url)
    assert result.outputs == {"count": 2, "copies": ["to", "be"] * 100_000, "loud": "HO"}
    store = RunStore(url)
    kept = {each.name: each for each in store.outputs(result.run_id)}
    assert list(kept.values()) == list(result.output_records)
    assert (kept["count"].value, kept["count"].type, kept["loud"].value) == (2, "int", "HO")
    assert kept["copies"].shortened
    assert kept["copies"].uri is not None
    assert json.loads(Storage().read(kept["copies"].uri)) == ["to", "be"] * 100_000
    store.close()


def test_a_failed_run_has_the_outputs_that_it_wrote() -> None:
    registry = Registry()

    @handler(registry=registry)
    def first() -> int:
        return 1

    @handler(registry=registry)
    def second() -> int:
        raise ValueError("no")

    result = run(pipeline("fails", first, second), registry=registry)
    assert (result.status, result.outputs) == ("failed", {"first": 1})
    assert "Not written: second." in result_markdown(result.output_records, result.output_fields)
