"""The jobs that the stages in this folder name; the mailboxes are made up."""

from handlers.jobs import job

MAILBOXES = {"acct1": 3, "acct2": 0, "acct3": 12, "acct4": 5}


@job
def ingest_gmail_acct1() -> int:
    return MAILBOXES["acct1"]


@job
def ingest_gmail_acct2() -> int:
    return MAILBOXES["acct2"]


@job
def ingest_gmail_acct3() -> int:
    return MAILBOXES["acct3"]


@job
def ingest_gmail_acct4() -> int:
    return MAILBOXES["acct4"]


@job
def peek() -> dict[str, list[dict[str, str]]]:
    return {"items": [{"id": account} for account in MAILBOXES]}


@job
def ingest_account(account: str, since: str) -> int:
    return MAILBOXES[account]


@job
def check_account(account: str, since: str) -> bool:
    return account in MAILBOXES


@job
def send_report() -> str:
    return "all accounts are in"
