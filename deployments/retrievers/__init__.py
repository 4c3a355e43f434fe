"""An index as a retriever of LangChain, LlamaIndex and Haystack, one module per framework.

Nothing is re-exported, because each module needs its framework.
"""

__all__: list[str] = []
