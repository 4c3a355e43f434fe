"""From listed sources to a published index: changes, passages, vectors, facts, storing."""

from handlers.ingestion.summary import split_sentences, summarise

__all__ = ["split_sentences", "summarise"]
