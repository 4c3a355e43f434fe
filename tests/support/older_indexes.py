"""Index files of earlier schema versions, with the content of a current index."""

import sqlite3
from pathlib import Path

from handlers.stores.sql.schema import APPLICATION_ID, metadata

OLDER = Path(__file__).parents[1] / "integration/older_indexes"
"""The tables as the commits with these schema versions made them."""
NEWER = {"sources", "left_out", "changes", "index_versions", "token_vectors"}
"""Tables that the oldest version has not."""
TABLES = sorted(
    (table for table in metadata.sorted_tables if table.name not in NEWER),
    key=lambda table: table.name == "postings",  # which once referred to another
)


def copy_as_older_file(new: Path, old: Path, version: int) -> None:
    """Make the file `old` with the tables of a schema version and the content of the file `new`."""
    with sqlite3.connect(old) as connection:
        connection.executescript((OLDER / f"sqlite-{version}.sql").read_text())
        connection.execute("ATTACH ? AS new", (str(new),))
        for table in TABLES:
            names = [row[1] for row in connection.execute(f"PRAGMA main.table_info('{table.name}')")]
            columns = ", ".join(f'"{name}"' for name in names)
            connection.execute(f"INSERT INTO main.{table.name} ({columns}) SELECT {columns} FROM new.{table.name}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
    connection.close()
