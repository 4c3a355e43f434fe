"""Known causes of failures with a hint for each; teams add their own with `add_hint`."""

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Hint:
    """Advice for errors of certain types, or errors whose message matches a pattern."""

    advice: str
    pattern: re.Pattern[str] | None = None
    kinds: frozenset[str] = frozenset()

    def fits(self, kind: str, message: str) -> bool:
        return kind in self.kinds or (self.pattern is not None and self.pattern.search(message) is not None)


def _hint(advice: str, pattern: str | None = None, kinds: Collection[str] = ()) -> Hint:
    return Hint(advice, re.compile(pattern, re.IGNORECASE) if pattern else None, frozenset(kinds))


_HINTS: list[Hint] = [
    _hint("raise the budget and go on with `braid resume RUN --budget …`", r"^budget: ", ["BudgetUsedUp"]),
    _hint(
        "no earlier step writes that field; `braid plan` shows all reads and writes, and `reads:` renames a read",
        kinds=["MissingRead"],
    ),
    _hint(
        "put plain data into the context (texts, numbers, lists, mappings, dataclasses); pass large data by "
        "URI, and live objects as services",
        kinds=["UnsupportedValue"],
    ),
    _hint(
        "two branches write one field: declare a reducer for it, or rename one with `writes:`",
        r"both changed '",
        ["MergeConflict"],
    ),
    _hint("declare the field in the handler's `reads` or `writes`", kinds=["UndeclaredAccess"]),
    _hint(
        "free space on the disk (or raise the quota), then go on with `braid resume RUN`",
        r"no space left|disk (is )?full|disk quota|errno (28|122)\b|database or disk is full",
    ),
    _hint(
        "a dependency is missing: install the extra that the message names",
        kinds=["ModuleNotFoundError", "ImportError"],
    ),
    _hint(
        "too little memory: a lower `max_concurrency` or `batch_size` needs less",
        r"out of memory|cannot allocate",
        ["MemoryError"],
    ),
    _hint(
        "the service limits the rate of requests: give the step a resource with a limit, and retries with a delay",
        r"\b429\b|too many requests|rate.?limit",
        ["RateLimitError"],
    ),
    _hint(
        "not signed in: check the key or token and that it has not expired",
        r"\b401\b|unauthori[sz]ed|authentication|invalid api key",
        ["AuthenticationError"],
    ),
    _hint(
        "signed in but not allowed: check the permissions of the account, the bucket or the file",
        r"\b403\b|forbidden|access ?denied|permission denied",
        ["PermissionError", "PermissionDeniedError"],
    ),
    _hint(
        "it does not exist: check the name, the path and the address",
        r"\b404\b|no such file|not found",
        ["FileNotFoundError", "MissingObject", "MissingBucket", "NotFoundError"],
    ),
    _hint(
        "the host name does not resolve: check the host in the address, and DNS",
        r"name or service not known|getaddrinfo|nodename nor servname|name resolution",
    ),
    _hint(
        "nothing listens there: check that the service runs, and its host and port",
        r"connection (was )?refused|connect call failed|errno 111\b|all connection attempts failed",
        ["ConnectionRefusedError"],
    ),
    _hint(
        "the certificate is not trusted: check the host name, and the machine's certificates and clock",
        r"certificate verify|ssl",
    ),
    _hint(
        "the connection broke: retries help if the cause passes; otherwise look at the log of the service",
        r"connection (reset|aborted)|broken pipe|remote ?protocol|server disconnected",
        ["ConnectionResetError"],
    ),
    _hint(
        "it took too long: raise `timeout_s`, use smaller batches, or find out why it waits",
        r"timed? ?out",
        ["StepTimeout", "StepAbandoned", "TimeoutError", "ReadTimeout"],
    ),
    _hint(
        "the service itself has failed: retries help if that passes",
        r"\b50[0234]\b|internal server error|"
        r"bad gateway|service unavailable",
    ),
    _hint("another process writes to the same database: retry, or use PostgreSQL", r"database is locked"),
    _hint(
        "an option does not fit the handler: `braid handlers NAME` shows its options",
        r"validation error",
        ["ValidationError"],
    ),
]


def add_hint(advice: str, *, pattern: str | None = None, kinds: Collection[str] = ()) -> None:
    """Add advice for errors whose message matches `pattern`, or whose type is one of `kinds`.

    Hints that are added later take precedence, so a team can replace the advice of the table.
    """
    if pattern is None and not kinds:
        raise ValueError("a hint needs a pattern or kinds, else it would fit every error")
    _HINTS.insert(0, _hint(advice, pattern, kinds))


def hint_for(kind: str, message: str) -> str:
    """The advice for an error; empty if there is none."""
    # Try the type first, because it is more reliable than the words in the message.
    by_kind = next((hint.advice for hint in _HINTS if kind in hint.kinds), None)
    return by_kind or next((hint.advice for hint in _HINTS if hint.fits(kind, message)), "")
