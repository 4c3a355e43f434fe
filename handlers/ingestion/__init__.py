"""From listed sources to a published index: changes, passages, vectors, facts, storing."""

from handlers.ingestion.balance import Balance, add_balances
from handlers.ingestion.balance_page import balance_markdown
from handlers.ingestion.document_names import DocumentNames
from handlers.ingestion.making import Making, making_fingerprint, making_of, note_making
from handlers.ingestion.settling import Ended, balance_uri, note_balance, settle
from handlers.ingestion.summary import split_sentences, summarise

__all__ = [
    "Balance",
    "DocumentNames",
    "Ended",
    "Making",
    "add_balances",
    "balance_markdown",
    "balance_uri",
    "making_fingerprint",
    "making_of",
    "note_balance",
    "note_making",
    "settle",
    "split_sentences",
    "summarise",
]
