"""Paths in the repository."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
DOCUMENTS = EXAMPLES / "documents"
"""The demo's documents, of every common kind."""
