"""The tables of an index in SQL: versions of documents hold chunks, and passages hold the facets of chunks."""

import time
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    event,
)

from handlers.stores.sql.dialects import StorableText, VectorColumn

SCHEMA_VERSION = 9
APPLICATION_ID = 0x42524149  # "BRAI", in the file's header

# In schema version 2, a `~` marked versions that were overwritten while they were visible.
_SETTLE = "UPDATE versions SET fingerprint = '' WHERE substr(fingerprint, 1, 1) = '~'"
_UPGRADES: dict[int, dict[str, tuple[str, ...]]] = {
    2: {
        "sqlite": ("ALTER TABLE documents ADD COLUMN tried TEXT NOT NULL DEFAULT ''",),
        "postgresql": ("ALTER TABLE documents ADD COLUMN tried VARCHAR COLLATE \"C\" NOT NULL DEFAULT ''",),
    },
    # SQLite cannot drop a constraint. There it costs little, and existing files keep it.
    3: {
        "sqlite": (_SETTLE,),
        "postgresql": ("ALTER TABLE postings DROP CONSTRAINT IF EXISTS postings_passage_fkey", _SETTLE),
    },
    # Adds two tables. Documents are identified by their URIs, which the next ingestion of their source sets.
    4: {"sqlite": (), "postgresql": ()},
    # Adds one table.
    5: {"sqlite": (), "postgresql": ()},
    # Versions of an index: a document and a passage may be in one of two versions, and a passage has a vector per
    # model.
    6: {
        "sqlite": (
            "DROP TABLE IF EXISTS changes",  # recreated with a side
            "ALTER TABLE documents ADD COLUMN beside INTEGER",
            "UPDATE documents SET beside = published",
            "ALTER TABLE passages ADD COLUMN side INTEGER NOT NULL DEFAULT 0",
            "DROP INDEX IF EXISTS passages_visible",
            "CREATE INDEX passages_in_view ON passages (visible, side, key, document, length)",
            "DROP INDEX IF EXISTS vectors_by_model",
            "ALTER TABLE vectors RENAME TO vectors_before",  # SQLite cannot drop the constraint of one per passage
            "CREATE TABLE vectors (key INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, passage INTEGER NOT NULL "
            "REFERENCES passages (key) ON DELETE CASCADE, model TEXT NOT NULL, vector BLOB NOT NULL)",
            "INSERT INTO vectors (key, passage, model, vector) SELECT key, passage, model, vector FROM vectors_before",
            "DROP TABLE vectors_before",
            "CREATE UNIQUE INDEX vectors_of_passage ON vectors (passage, model)",
            "CREATE INDEX vectors_by_model ON vectors (model, passage, key)",
        ),
        "postgresql": (
            "DROP TABLE IF EXISTS changes",
            "ALTER TABLE documents ADD COLUMN beside BIGINT",
            "UPDATE documents SET beside = published",
            "ALTER TABLE passages ADD COLUMN side INTEGER NOT NULL DEFAULT 0",
            "DROP INDEX IF EXISTS passages_visible",
            "CREATE INDEX passages_in_view ON passages (visible, side, key, document, length)",
            "ALTER TABLE vectors DROP CONSTRAINT IF EXISTS vectors_passage_key",
            "CREATE UNIQUE INDEX vectors_of_passage ON vectors (passage, model)",
        ),
    },
    # Adds checksums of vectors, and a table for token vectors, which is filled when vectors are recomputed.
    7: {
        "sqlite": ("ALTER TABLE vectors ADD COLUMN checksum BIGINT",),
        "postgresql": ("ALTER TABLE vectors ADD COLUMN checksum BIGINT",),
    },
    # The primary key of postings includes their counts, so that a search does not read the table besides.
    8: {
        "sqlite": (),
        "postgresql": (
            "ALTER TABLE postings DROP CONSTRAINT postings_pkey",
            "ALTER TABLE postings ADD CONSTRAINT postings_pkey PRIMARY KEY (term, passage) INCLUDE (count)",
        ),
    },
}
"""The statements that upgrade a schema version to the next, by dialect; missing tables are created."""


def upgrades(version: int | None, dialect: str) -> list[str] | None:
    """The statements that upgrade a schema version to the newest; `None` if it cannot be upgraded."""
    if version not in _UPGRADES:
        return [] if version == SCHEMA_VERSION else None
    return [statement for step in range(version, SCHEMA_VERSION) for statement in _UPGRADES[step][dialect]]


def other_version(index: str, version: int | None, thing: str) -> str:
    """The message for an index of another version of Braid that this version cannot upgrade."""
    cure = "delete it" if thing == "index" else f"delete the {thing}"
    return f"{index} is an index of schema version {version}; this Braid needs schema version {SCHEMA_VERSION}: " + (
        "use the newer Braid that made it, or give another name"
        if version is not None and version > SCHEMA_VERSION
        else f"give another name, or {cure} and ingest again"
    )


metadata = MetaData()
Key = BigInteger().with_variant(Integer, "sqlite")  # the type that SQLite numbers automatically
Text = StorableText


def _version() -> "Column[Any]":
    return Column("version", Key, ForeignKey("versions.key", ondelete="CASCADE"), primary_key=True, autoincrement=False)


def _passage(*, primary_key: bool = False, index: bool = False) -> "Column[Any]":
    key = ForeignKey("passages.key", ondelete="CASCADE")
    return Column(
        "passage",
        Key,
        key,
        autoincrement=False,
        nullable=False,
        primary_key=primary_key,
        index=index,
    )


def _entity(name: str) -> "Column[Any]":
    return Column(name, Key, ForeignKey("entities.key", ondelete="CASCADE"), primary_key=True, autoincrement=False)


counters = Table("counters", metadata, Column("name", Text, primary_key=True), Column("value", Integer, nullable=False))
"""One counter per side (see `views.data_counter`), incremented by every transaction that changes answers there."""

changes = Table(
    "changes",
    metadata,
    Column("side", Integer, primary_key=True, autoincrement=False),
    Column("number", Key, primary_key=True, autoincrement=False),
    Column("came", LargeBinary, nullable=False),  # ranges of passage keys
    Column("went", LargeBinary, nullable=False),
    Column("passages", BigInteger, nullable=False),  # the change in the number of passages
    Column("terms", BigInteger, nullable=False),  # the change in the number of their terms
)
"""The passages added and removed on a side, for each of the last values of its counter."""
index_versions = Table(
    "index_versions",
    metadata,
    Column("side", Integer, primary_key=True, autoincrement=False),  # 1 or 2
    Column("name", Text, nullable=False, unique=True),
    Column("active", Boolean, nullable=False),
    Column("model", Text, nullable=False),  # the model of its vectors, while there are two versions; else empty
    Column("made", Text, nullable=False),  # JSON: the fingerprints that its documents should have
    Column("created_at", Double, nullable=False),
    Column("switched_at", Double),  # when it became active
)
"""The versions of the index: one, or two side by side, of which one is active. See `views`."""


@event.listens_for(index_versions, "after_create")
def _begin(_table: Table, connection: Connection, **_: Any) -> None:  # pyright: ignore[reportUnusedFunction]
    now = time.time()
    connection.exec_driver_sql(
        "INSERT INTO index_versions (side, name, active, model, made, created_at, switched_at) "
        f"VALUES (1, '1', true, '', '[]', {now!r}, {now!r})"
    )


documents = Table(
    "documents",
    metadata,
    Column("key", Key, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, index=True),
    Column("uri", Text, nullable=False),
    Column("status", Text, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("published", Key),  # versions.key of the visible version, on side 1
    # For a failed document: its revision and the way it was read.
    Column("tried", Text, nullable=False, server_default=""),
    Column("beside", Key),  # as `published`, on side 2: the same unless two versions of the index differ
)

sources = Table(
    "sources",
    metadata,
    Column("key", Key, primary_key=True),
    Column("uri", Text, nullable=False),
    Column("pattern", Text, nullable=False),
    Column("exclude", Text, nullable=False),  # JSON
    Column("tags", Text, nullable=False),  # JSON
    Column("is_folder", Boolean, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("balance", Text, nullable=False),  # JSON
    UniqueConstraint("uri", "pattern"),
)

left_out = Table(
    "left_out",
    metadata,
    Column("source", Key, ForeignKey("sources.key", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("rule", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("left_out_by_rule", "source", "rule", "position"),
    sqlite_with_rowid=False,
)

versions = Table(
    "versions",
    metadata,
    Column("key", Key, primary_key=True),
    Column("document", Key, ForeignKey("documents.key", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("content_sha256", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("staged_at", Double, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON
    Column("summary", Text),
    UniqueConstraint("document", "name"),
)

tags = Table(
    "tags",
    metadata,
    _version(),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Index("tags_by_value", "name", "value"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _version(),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("uri", Text),
    Column("page", Integer),
    Column("language", Text),
)

passages = Table(
    "passages",
    metadata,
    Column("key", Key, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("document", Key, ForeignKey("documents.key", ondelete="CASCADE"), nullable=False, index=True),
    Column("visible", Boolean, nullable=False),
    Column("length", Integer),  # number of terms; NULL until they are stored
    Column("facts", Boolean, nullable=False),  # whether its facts are stored; it may have none
    Column("run_id", Text, nullable=False),  # the run that staged it first, while it is not visible
    Column("staged_at", Double, nullable=False),
    Column("text", Text, nullable=False),
    Column("side", Integer, nullable=False, server_default="0"),  # of a visible one: 0 for both sides, or the only one
    Index("passages_in_view", "visible", "side", "key", "document", "length"),
    sqlite_autoincrement=True,
)

chunks = Table(
    "chunks",
    metadata,
    _version(),
    _passage(primary_key=True, index=True),
    Column("position", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("heading", Text, nullable=False),
    Column("page", Integer),
    Column("tokens", Integer, nullable=False),
)

vectors = Table(
    "vectors",
    metadata,
    Column("key", Key, primary_key=True),  # never reused: a row is never changed, only replaced by a new one
    _passage(),
    Column("model", Text, nullable=False),
    Column("vector", VectorColumn, nullable=False),
    Column("checksum", BigInteger),  # checksum of its bytes; NULL for rows of schema version 7
    Index("vectors_of_passage", "passage", "model", unique=True),
    Index("vectors_by_model", "model", "passage", "key"),
    sqlite_autoincrement=True,
)

# Separate from the vectors, which are read by the thousand; token vectors are read only for the candidates of a
# question.
token_vectors = Table(
    "token_vectors",
    metadata,
    Column("vector", Key, ForeignKey("vectors.key", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("packed", LargeBinary, nullable=False),  # see `handlers.token_vectors`
)

# No foreign key, because PostgreSQL's check of each row takes longer than storing it (270,000 rows per second without,
# 100,000 with it). Code that removes passages must remove their postings first.
postings = Table(
    "postings",
    metadata,
    Column("term", Text, nullable=False),
    Column("passage", Key, nullable=False, autoincrement=False, index=True),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("term", "passage", postgresql_include=["count"]),
    sqlite_with_rowid=False,
)

# One row per spelling: which one is shown depends on the visible passages, not on which came first.
entities = Table(
    "entities",
    metadata,
    Column("key", Key, primary_key=True),
    Column("folded", Text, nullable=False, index=True),
    Column("name", Text, nullable=False, unique=True),
)

mentions = Table(
    "mentions",
    metadata,
    _passage(primary_key=True),
    _entity("entity"),
    Column("kind", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Index("mentions_by_entity", "entity", "passage"),
    sqlite_with_rowid=False,
)

relations = Table(
    "relations",
    metadata,
    _passage(primary_key=True),
    _entity("source"),
    _entity("target"),
    Column("kind", Text, primary_key=True),
    Column("weight", Double, nullable=False),
    Index("relations_by_source", "source", "passage"),
    Index("relations_by_target", "target", "passage"),
    sqlite_with_rowid=False,
)
