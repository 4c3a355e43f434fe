"""Vectors: of norm 1, independent of the batch, and nearer for similar meanings."""

import asyncio
import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from flows.author import Call
from flows.errors import FatalError, TransientError
from flows.state import Identity, Services
from handlers.ingestion.embeddings import generate_dense_embeddings, generate_sparse_embeddings
from handlers.models import Embedder, make_embedder, make_reranker
from handlers.models.embedding import HashingEmbedder, LocalEmbedder
from handlers.models.endpoint import OpenAIEmbedder
from handlers.records import Chunk
from handlers.token_vectors import late_interaction, pack
from tests.support.embedders import HashedWords

TEXTS = ["The cat sat on the mat.", "Databases store rows on disk.", "A feline rested on a rug."]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalEmbedder]:
    embedder = LocalEmbedder()
    yield embedder
    embedder.close()


@pytest.mark.parametrize("kind", ["local", "hashing"])
def test_vectors_have_norm_one_and_do_not_depend_on_their_neighbours(kind: str, local: LocalEmbedder) -> None:
    embedder: Embedder = local if kind == "local" else HashingEmbedder()
    together = embedder.embed_documents(TEXTS)
    assert (together.dtype, together.shape) == (np.float32, (3, embedder.dim))
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert (together[2] == embedder.embed_documents(TEXTS[2:])[0]).all()
    assert embedder.embed_documents([]).shape == (0, embedder.dim)


def test_meaning_is_nearer_than_nothing_in_common(local: LocalEmbedder) -> None:
    vectors = local.embed_documents(TEXTS)
    assert vectors[0] @ vectors[2] > vectors[0] @ vectors[1] + 0.1
    query = local.embed_query("Where do databases keep their data?")
    assert int(np.argmax(vectors @ query)) == 1


def test_tokens_have_vectors_from_the_same_pass(local: LocalEmbedder) -> None:
    vectors, tokens = local.embed_document_tokens([*TEXTS, "?!"])
    assert tokens is not None
    assert (vectors == local.embed_documents([*TEXTS, "?!"])).all()
    assert [each.shape for each in tokens] == [(6, 384), (5, 384), (7, 384), (0, 384)]  # none of the full stops
    assert np.allclose(np.linalg.norm(tokens[0], axis=1), 1.0, atol=1e-5)
    query, asked = local.embed_query_tokens("Where do databases keep data?")
    assert asked is not None
    assert (query == local.embed_query("Where do databases keep data?")).all()
    assert asked.shape == (6, 384)  # without the words that the model wants before a question
    scores = late_interaction(asked, [pack(each) for each in tokens])
    assert scores[3] is None
    assert scores[1] == max(score for score in scores if score is not None)


def test_an_embedder_follows_a_handler_into_another_process(local: LocalEmbedder) -> None:
    copy = pickle.loads(pickle.dumps(local))
    assert (copy.embed_query("x") == local.embed_query("x")).all()
    copy.close()


def test_the_reranker_puts_the_answer_first() -> None:
    scores = make_reranker().score("how does a database store data?", TEXTS)
    assert int(np.argmax(scores)) == 1


def chunk(text: str, heading: str = "") -> Chunk:
    return Chunk(f"id-{text[:6]}", "doc", 0, text, 0, len(text), heading)


def test_the_handlers_give_a_vector_and_counts_for_each_chunk() -> None:
    call = Call(identity=Identity(services=Services({"embedder": HashingEmbedder})))
    chunks = [chunk("Rows are stored in rows.", "Storage"), chunk("数据库"), chunk("the of and")]
    embeddings = generate_dense_embeddings(chunks, call=call)
    assert embeddings.vectors.shape == (3, 256)
    assert embeddings.chunk_ids == tuple(c.id for c in chunks)
    assert (call.costs["chunks"], call.done, call.total) == (3, 3, 3)
    sparse = generate_sparse_embeddings(chunks, call=Call())
    assert [(s.counts, s.length) for s in sparse] == [
        ((("row", 2), ("storag", 1), ("store", 1)), 4),
        ((("据库", 1), ("数据", 1)), 2),
        ((), 0),
    ]


@pytest.mark.parametrize(
    ("embedder", "wanted", "packed"),
    [(HashedWords, True, 2), (HashedWords, False, 0), (HashingEmbedder, True, 0)],
)
def test_token_vectors_are_made_where_they_are_wanted_and_can_be(
    embedder: type[HashingEmbedder], wanted: bool, packed: int
) -> None:
    call = Call(identity=Identity(services=Services({"embedder": embedder})))
    made = generate_dense_embeddings([chunk("a b"), chunk("c d e")], token_vectors=wanted, call=call)
    assert len(made.tokens) == packed
    assert all(made.tokens)


def test_a_call_that_is_no_longer_wanted_stops() -> None:
    from flows.errors import StepCancelled

    call = Call(identity=Identity(services=Services({"embedder": HashingEmbedder})))
    call.cancel()
    with pytest.raises(StepCancelled):
        generate_dense_embeddings([chunk("a")], call=call)


class _Endpoint(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
        status = {"busy": 429, "busy for long": 429, "forbidden": 401}.get(texts[0], 200)
        if texts[0] == "versioned" and self.path != "/v1/embeddings?api-version=1":
            status = 404
        rows = [{"index": i, "embedding": [len(text), 1.0]} for i, text in enumerate(texts) if text != "lost"]
        if texts[0] == "nowhere":
            rows = [{"index": 0, "embedding": [0.0, 0.0]}]
        body = json.dumps({"data": rows[::-1], "usage": {"total_tokens": 5}}).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "7" if texts[0] == "busy" else "Fri, 31 Dec 9999 23:59:59 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_openai_compatible_endpoint(endpoint: str) -> None:
    embedder = make_embedder("any", base_url=endpoint, api_key="secret")
    assert isinstance(embedder, OpenAIEmbedder)
    vectors = asyncio.run(asyncio.to_thread(embedder.embed_documents, ["a", "bbbb"]))
    assert np.allclose(vectors, [[2**-0.5, 2**-0.5], [4 / 17**0.5, 1 / 17**0.5]])
    assert embedder.tokens_used == 5
    with pytest.raises(TransientError, match="answered 429") as busy:
        embedder.embed_query("busy")
    assert busy.value.retry_after_s == 7
    with pytest.raises(TransientError, match="answered 429") as busy:
        embedder.embed_query("busy for long")
    assert busy.value.retry_after_s is not None
    assert busy.value.retry_after_s > 1e9
    with pytest.raises(FatalError, match="answered 401"):
        embedder.embed_query("forbidden")
    with pytest.raises(FatalError, match="returned 1 vectors for 2 texts"):
        embedder.embed_documents(["a", "lost"])
    with pytest.raises(FatalError, match="without a direction"):
        embedder.embed_query("nowhere")
    assert len(embedder.embed_documents(["many"] * 150)) == 150
    assert make_embedder("any", base_url=f"{endpoint}/?api-version=1").embed_query("versioned").shape == (2,)
    embedder.close()
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1"):
        OpenAIEmbedder("any", base_url="http://127.0.0.1:1").embed_query("x")
