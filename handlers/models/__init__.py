"""Models: where their files are, tokens, embedding and reranking."""
