CREATE TABLE changes (
    side INTEGER NOT NULL,
    number INTEGER NOT NULL,
    came BLOB NOT NULL,
    went BLOB NOT NULL,
    passages BIGINT NOT NULL,
    terms BIGINT NOT NULL,
    PRIMARY KEY (side, number)
);
CREATE TABLE counters (
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE documents (
    "key" INTEGER NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    uri TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    run_id TEXT NOT NULL,
    updated_at DOUBLE NOT NULL,
    published INTEGER,
    tried TEXT DEFAULT '' NOT NULL,
    beside INTEGER,
    PRIMARY KEY ("key"),
    UNIQUE (id)
);
CREATE INDEX ix_documents_name ON documents (name);
CREATE INDEX ix_documents_status ON documents (status);
CREATE TABLE entities (
    "key" INTEGER NOT NULL,
    folded TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY ("key"),
    UNIQUE (name)
);
CREATE INDEX ix_entities_folded ON entities (folded);
CREATE TABLE index_versions (
    side INTEGER NOT NULL,
    name TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    model TEXT NOT NULL,
    made TEXT NOT NULL,
    created_at DOUBLE NOT NULL,
    switched_at DOUBLE,
    PRIMARY KEY (side),
    UNIQUE (name)
);
CREATE TABLE postings (
    term TEXT NOT NULL,
    passage INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (term, passage)
)
 WITHOUT ROWID;
CREATE INDEX ix_postings_passage ON postings (passage);
CREATE TABLE sources (
    "key" INTEGER NOT NULL,
    uri TEXT NOT NULL,
    pattern TEXT NOT NULL,
    exclude TEXT NOT NULL,
    tags TEXT NOT NULL,
    is_folder BOOLEAN NOT NULL,
    run_id TEXT NOT NULL,
    updated_at DOUBLE NOT NULL,
    balance TEXT NOT NULL,
    PRIMARY KEY ("key"),
    UNIQUE (uri, pattern)
);
CREATE TABLE left_out (
    source INTEGER NOT NULL,
    position INTEGER NOT NULL,
    rule TEXT NOT NULL,
    name TEXT NOT NULL,
    uri TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (source, position),
    FOREIGN KEY(source) REFERENCES sources ("key") ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE INDEX left_out_by_rule ON left_out (source, rule, position);
CREATE TABLE passages (
    "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    document INTEGER NOT NULL,
    visible BOOLEAN NOT NULL,
    length INTEGER,
    facts BOOLEAN NOT NULL,
    run_id TEXT NOT NULL,
    staged_at DOUBLE NOT NULL,
    text TEXT NOT NULL,
    side INTEGER DEFAULT '0' NOT NULL,
    UNIQUE (id),
    FOREIGN KEY(document) REFERENCES documents ("key") ON DELETE CASCADE
);
CREATE INDEX ix_passages_document ON passages (document);
CREATE INDEX passages_in_view ON passages (visible, side, "key", document, length);
CREATE TABLE versions (
    "key" INTEGER NOT NULL,
    document INTEGER NOT NULL,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    revision TEXT NOT NULL,
    run_id TEXT NOT NULL,
    staged_at DOUBLE NOT NULL,
    metadata TEXT NOT NULL,
    summary TEXT,
    PRIMARY KEY ("key"),
    UNIQUE (document, name),
    FOREIGN KEY(document) REFERENCES documents ("key") ON DELETE CASCADE
);
CREATE TABLE artifacts (
    version INTEGER NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    content TEXT NOT NULL,
    uri TEXT,
    page INTEGER,
    language TEXT,
    PRIMARY KEY (version, id),
    FOREIGN KEY(version) REFERENCES versions ("key") ON DELETE CASCADE
);
CREATE TABLE chunks (
    version INTEGER NOT NULL,
    passage INTEGER NOT NULL,
    position INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    heading TEXT NOT NULL,
    page INTEGER,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (version, passage),
    FOREIGN KEY(version) REFERENCES versions ("key") ON DELETE CASCADE,
    FOREIGN KEY(passage) REFERENCES passages ("key") ON DELETE CASCADE
);
CREATE INDEX ix_chunks_passage ON chunks (passage);
CREATE TABLE mentions (
    passage INTEGER NOT NULL,
    entity INTEGER NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (passage, entity, kind),
    FOREIGN KEY(passage) REFERENCES passages ("key") ON DELETE CASCADE,
    FOREIGN KEY(entity) REFERENCES entities ("key") ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE INDEX mentions_by_entity ON mentions (entity, passage);
CREATE TABLE relations (
    passage INTEGER NOT NULL,
    source INTEGER NOT NULL,
    target INTEGER NOT NULL,
    kind TEXT NOT NULL,
    weight DOUBLE NOT NULL,
    PRIMARY KEY (passage, source, target, kind),
    FOREIGN KEY(passage) REFERENCES passages ("key") ON DELETE CASCADE,
    FOREIGN KEY(source) REFERENCES entities ("key") ON DELETE CASCADE,
    FOREIGN KEY(target) REFERENCES entities ("key") ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE INDEX relations_by_source ON relations (source, passage);
CREATE INDEX relations_by_target ON relations (target, passage);
CREATE TABLE tags (
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (version, name, value),
    FOREIGN KEY(version) REFERENCES versions ("key") ON DELETE CASCADE
);
CREATE INDEX tags_by_value ON tags (name, value);
CREATE TABLE vectors (
    "key" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    passage INTEGER NOT NULL,
    model TEXT NOT NULL,
    vector BLOB NOT NULL,
    checksum BIGINT,
    FOREIGN KEY(passage) REFERENCES passages ("key") ON DELETE CASCADE
);
CREATE INDEX vectors_by_model ON vectors (model, passage, "key");
CREATE UNIQUE INDEX vectors_of_passage ON vectors (passage, model);
CREATE TABLE token_vectors (
    vector INTEGER NOT NULL,
    packed BLOB NOT NULL,
    PRIMARY KEY (vector),
    FOREIGN KEY(vector) REFERENCES vectors ("key") ON DELETE CASCADE
);
INSERT INTO index_versions (side, name, active, model, made, created_at, switched_at) VALUES (1, '1', true, '', '[]', 1.0, 1.0);
