"""Made-up data: `python made_up.py FILE` writes the database, `python made_up.py FILE PORT` serves the API as well."""

import json
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

INVENTORY = [{"item": "tea", "count": 2, "price": 3.0}, {"item": "cups", "count": 4, "price": 1.5}]


def write_database(file: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        for table in ("sales", "expenses", "customers", "orders"):
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER, amount REAL, date TEXT)")
            rows = [(1, 10.0, "2026-01-01"), (2, 32.0, "2026-02-01")]
            connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows[: 1 if table == "expenses" else 2])


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(INVENTORY).encode())


if __name__ == "__main__":
    write_database(sys.argv[1])
    if len(sys.argv) > 2:
        HTTPServer(("127.0.0.1", int(sys.argv[2])), Api).serve_forever()
