"""How to use known embedding models: the prefixes of texts, the pooling of token vectors, and the dimensions.

Each recipe is from the model's own page. A wrong prefix or pooling degrades a model without any error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from flows.errors import FatalError

_FOR_PASSAGES = "Represent this sentence for searching relevant passages: "


@dataclass(frozen=True)
class Recipe:
    """How a model is used. `first` takes the vector of the first token (which stands for the text), `mean` the mean
    over all tokens.
    """

    dimensions: int
    pooling: Literal["first", "mean"] = "first"
    query_prefix: str = ""
    passage_prefix: str = ""
    languages: str = "English"

    def pooled(self, tokens: np.ndarray, name: str) -> np.ndarray:
        """The vector of a text from those of its tokens, shape (tokens, dimensions).

        Raises:
            FatalError: the vectors have other dimensions, so the files belong to another model.
        """
        if self.dimensions and tokens.shape[-1] != self.dimensions:
            raise FatalError(
                f"the model {name!r} has vectors of {self.dimensions} dimensions, and its files give "
                f"{tokens.shape[-1]}: they are those of another model"
            )
        found = tokens[0] if self.pooling == "first" else tokens.mean(axis=0)
        return found.astype(np.float32)


UNKNOWN = Recipe(0)
"""For a model that is not listed: any dimensions, no prefixes, the first token."""

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "bge-small-en-v1.5": Recipe(384, query_prefix=_FOR_PASSAGES),
        "bge-base-en-v1.5": Recipe(768, query_prefix=_FOR_PASSAGES),
        "bge-large-en-v1.5": Recipe(1024, query_prefix=_FOR_PASSAGES),
        "bge-m3": Recipe(1024, languages="100 languages"),
        "multilingual-e5-small": Recipe(384, "mean", "query: ", "passage: ", "100 languages"),
        "multilingual-e5-base": Recipe(768, "mean", "query: ", "passage: ", "100 languages"),
        "multilingual-e5-large": Recipe(1024, "mean", "query: ", "passage: ", "100 languages"),
        "gte-multilingual-base": Recipe(768, languages="70 languages"),
        "all-MiniLM-L6-v2": Recipe(384, "mean"),
        "paraphrase-multilingual-MiniLM-L12-v2": Recipe(384, "mean", languages="50 languages"),
        "nomic-embed-text-v1.5": Recipe(768, "mean", "search_query: ", "search_document: "),
    }
)
"""Recipes by the last part of the model's name."""


def recipe_of(name: str) -> Recipe:
    """How the model of this name (`multilingual-e5-small`, or with its owner before a slash) is used."""
    return RECIPES.get(name.rpartition("/")[2], UNKNOWN)
