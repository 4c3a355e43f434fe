"""One module per format, or per family of formats: from a file's bytes to its text and blocks."""

__all__: list[str] = []
