"""Models: where their files are, tokens, embedding and reranking."""

from handlers.models.chat import NOT_CONFIGURED, Chat, ChatModel, Completion, ask_model
from handlers.models.embedding import EMBEDDING_MODEL, Embedder, TokenEmbedder, is_local, make_embedder
from handlers.models.files import KNOWN_MODELS, model_file
from handlers.models.http import Endpoint
from handlers.models.reranking import make_reranker
from handlers.models.tokens import count_tokens

__all__ = [
    "EMBEDDING_MODEL",
    "KNOWN_MODELS",
    "NOT_CONFIGURED",
    "Chat",
    "ChatModel",
    "Completion",
    "Embedder",
    "Endpoint",
    "TokenEmbedder",
    "ask_model",
    "count_tokens",
    "is_local",
    "make_embedder",
    "make_reranker",
    "model_file",
]
