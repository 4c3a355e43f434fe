CREATE TABLE counters (
    name TEXT COLLATE "C" NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE documents (
    key BIGSERIAL NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    uri TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    published BIGINT,
    tried TEXT COLLATE "C" DEFAULT '' NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (id)
);
CREATE INDEX ix_documents_name ON documents (name);
CREATE INDEX ix_documents_status ON documents (status);
CREATE TABLE entities (
    key BIGSERIAL NOT NULL,
    folded TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (name)
);
CREATE INDEX ix_entities_folded ON entities (folded);
CREATE TABLE postings (
    term TEXT COLLATE "C" NOT NULL,
    passage BIGINT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (term, passage)
);
CREATE INDEX ix_postings_passage ON postings (passage);
CREATE TABLE passages (
    key BIGSERIAL NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    document BIGINT NOT NULL,
    visible BOOLEAN NOT NULL,
    length INTEGER,
    facts BOOLEAN NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    staged_at DOUBLE PRECISION NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (id),
    FOREIGN KEY(document) REFERENCES documents (key) ON DELETE CASCADE
);
CREATE INDEX ix_passages_document ON passages (document);
CREATE INDEX passages_visible ON passages (visible, key, document, length);
CREATE TABLE versions (
    key BIGSERIAL NOT NULL,
    document BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    title TEXT COLLATE "C" NOT NULL,
    mime_type TEXT COLLATE "C" NOT NULL,
    content_sha256 TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    revision TEXT COLLATE "C" NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    staged_at DOUBLE PRECISION NOT NULL,
    metadata TEXT COLLATE "C" NOT NULL,
    summary TEXT COLLATE "C",
    PRIMARY KEY (key),
    UNIQUE (document, name),
    FOREIGN KEY(document) REFERENCES documents (key) ON DELETE CASCADE
);
CREATE TABLE artifacts (
    version BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    content TEXT COLLATE "C" NOT NULL,
    uri TEXT COLLATE "C",
    page INTEGER,
    language TEXT COLLATE "C",
    PRIMARY KEY (version, id),
    FOREIGN KEY(version) REFERENCES versions (key) ON DELETE CASCADE
);
CREATE TABLE chunks (
    version BIGINT NOT NULL,
    passage BIGINT NOT NULL,
    position INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    heading TEXT COLLATE "C" NOT NULL,
    page INTEGER,
    tokens INTEGER NOT NULL,
    PRIMARY KEY (version, passage),
    FOREIGN KEY(version) REFERENCES versions (key) ON DELETE CASCADE,
    FOREIGN KEY(passage) REFERENCES passages (key) ON DELETE CASCADE
);
CREATE INDEX ix_chunks_passage ON chunks (passage);
CREATE TABLE mentions (
    passage BIGINT NOT NULL,
    entity BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (passage, entity, kind),
    FOREIGN KEY(passage) REFERENCES passages (key) ON DELETE CASCADE,
    FOREIGN KEY(entity) REFERENCES entities (key) ON DELETE CASCADE
);
CREATE INDEX mentions_by_entity ON mentions (entity, passage);
CREATE TABLE relations (
    passage BIGINT NOT NULL,
    source BIGINT NOT NULL,
    target BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    weight DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (passage, source, target, kind),
    FOREIGN KEY(passage) REFERENCES passages (key) ON DELETE CASCADE,
    FOREIGN KEY(source) REFERENCES entities (key) ON DELETE CASCADE,
    FOREIGN KEY(target) REFERENCES entities (key) ON DELETE CASCADE
);
CREATE INDEX relations_by_source ON relations (source, passage);
CREATE INDEX relations_by_target ON relations (target, passage);
CREATE TABLE tags (
    version BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (version, name, value),
    FOREIGN KEY(version) REFERENCES versions (key) ON DELETE CASCADE
);
CREATE INDEX tags_by_value ON tags (name, value);
CREATE TABLE vectors (
    key BIGSERIAL NOT NULL,
    passage BIGINT NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    vector vector NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (passage),
    FOREIGN KEY(passage) REFERENCES passages (key) ON DELETE CASCADE
);
CREATE INDEX vectors_by_model ON vectors (model, passage, key);
