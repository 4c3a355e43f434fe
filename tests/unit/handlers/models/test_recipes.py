"""Known models are used as their pages say, with prefixes, pooling and dimensions, on a tiny stand-in for their files."""

from pathlib import Path

import numpy as np
import pytest

from flows.errors import FatalError
from handlers.models import make_embedder
from handlers.models.recipes import RECIPES, UNKNOWN, recipe_of
from tests.support.tiny_model import make_tiny_model

WORDS = ("river", "bridge", "query", "passage", ":")


def test_prefixes_and_pooling_are_those_of_the_model(tmp_path: Path) -> None:
    for name in ("multilingual-e5-small", "mine"):
        make_tiny_model(tmp_path, name, WORDS)
    known = make_embedder("multilingual-e5-small", model_dir=str(tmp_path))
    passages = known.embed_documents(["river", "bridge"])
    assert passages.shape == (2, known.dim) == (2, 384)
    asked = known.embed_query("river")
    assert asked @ passages[0] > asked @ passages[1]
    assert not np.allclose(asked, passages[0])  # their prefixes differ
    assert np.allclose(known.embed_query("passage : river"), known.embed_documents(["query : river"])[0], atol=0.2)
    other = make_embedder("mine", model_dir=str(tmp_path))
    assert np.allclose(other.embed_query("river"), other.embed_query("bridge"))  # the first token is irrelevant here


def test_files_of_another_model_are_refused(tmp_path: Path) -> None:
    make_tiny_model(tmp_path, "bge-m3", WORDS)
    with pytest.raises(FatalError, match="'bge-m3' has vectors of 1024 dimensions, and its files give 384"):
        make_embedder("bge-m3", model_dir=str(tmp_path)).embed_query("river")


def test_a_model_is_known_with_its_owner_and_without() -> None:
    assert recipe_of("intfloat/multilingual-e5-base") is RECIPES["multilingual-e5-base"]
    assert recipe_of("somebody/else") is UNKNOWN
