CREATE TABLE changes (
    side INTEGER NOT NULL,
    number BIGINT NOT NULL,
    came BYTEA NOT NULL,
    went BYTEA NOT NULL,
    passages BIGINT NOT NULL,
    terms BIGINT NOT NULL,
    PRIMARY KEY (side, number)
);
CREATE TABLE counters (
    name VARCHAR COLLATE "C" NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name)
);
CREATE TABLE documents (
    key BIGSERIAL NOT NULL,
    id VARCHAR COLLATE "C" NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    uri VARCHAR COLLATE "C" NOT NULL,
    status VARCHAR COLLATE "C" NOT NULL,
    reason VARCHAR COLLATE "C" NOT NULL,
    run_id VARCHAR COLLATE "C" NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    published BIGINT,
    tried VARCHAR COLLATE "C" DEFAULT '' NOT NULL,
    beside BIGINT,
    PRIMARY KEY (key),
    UNIQUE (id)
);
CREATE INDEX ix_documents_name ON documents (name);
CREATE INDEX ix_documents_status ON documents (status);
CREATE TABLE entities (
    key BIGSERIAL NOT NULL,
    folded VARCHAR COLLATE "C" NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (name)
);
CREATE INDEX ix_entities_folded ON entities (folded);
CREATE TABLE index_versions (
    side INTEGER NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    active BOOLEAN NOT NULL,
    model VARCHAR COLLATE "C" NOT NULL,
    made VARCHAR COLLATE "C" NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    switched_at DOUBLE PRECISION,
    PRIMARY KEY (side),
    UNIQUE (name)
);
CREATE TABLE postings (
    term VARCHAR COLLATE "C" NOT NULL,
    passage BIGINT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (term, passage)
);
CREATE INDEX ix_postings_passage ON postings (passage);
CREATE TABLE sources (
    key BIGSERIAL NOT NULL,
    uri VARCHAR COLLATE "C" NOT NULL,
    pattern VARCHAR COLLATE "C" NOT NULL,
    exclude VARCHAR COLLATE "C" NOT NULL,
    tags VARCHAR COLLATE "C" NOT NULL,
    is_folder BOOLEAN NOT NULL,
    run_id VARCHAR COLLATE "C" NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    balance VARCHAR COLLATE "C" NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (uri, pattern)
);
CREATE TABLE left_out (
    source BIGINT NOT NULL,
    position INTEGER NOT NULL,
    rule VARCHAR COLLATE "C" NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    uri VARCHAR COLLATE "C" NOT NULL,
    reason VARCHAR COLLATE "C" NOT NULL,
    PRIMARY KEY (source, position),
    FOREIGN KEY(source) REFERENCES sources (key) ON DELETE CASCADE
);
CREATE INDEX left_out_by_rule ON left_out (source, rule, position);
CREATE TABLE passages (
    key BIGSERIAL NOT NULL,
    id VARCHAR COLLATE "C" NOT NULL,
    document BIGINT NOT NULL,
    visible BOOLEAN NOT NULL,
    length INTEGER,
    facts BOOLEAN NOT NULL,
    run_id VARCHAR COLLATE "C" NOT NULL,
    staged_at DOUBLE PRECISION NOT NULL,
    text VARCHAR COLLATE "C" NOT NULL,
    side INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (key),
    UNIQUE (id),
    FOREIGN KEY(document) REFERENCES documents (key) ON DELETE CASCADE
);
CREATE INDEX ix_passages_document ON passages (document);
CREATE INDEX passages_in_view ON passages (visible, side, key, document, length);
CREATE TABLE versions (
    key BIGSERIAL NOT NULL,
    document BIGINT NOT NULL,
    name VARCHAR COLLATE "C" NOT NULL,
    title VARCHAR COLLATE "C" NOT NULL,
    mime_type VARCHAR COLLATE "C" NOT NULL,
    content_sha256 VARCHAR COLLATE "C" NOT NULL,
    fingerprint VARCHAR COLLATE "C" NOT NULL,
    revision VARCHAR COLLATE "C" NOT NULL,
    run_id VARCHAR COLLATE "C" NOT NULL,
    staged_at DOUBLE PRECISION NOT NULL,
    metadata VARCHAR COLLATE "C" NOT NULL,
    summary VARCHAR COLLATE "C",
    PRIMARY KEY (key),
    UNIQUE (document, name),
    FOREIGN KEY(document) REFERENCES documents (key) ON DELETE CASCADE
);
CREATE TABLE artifacts (
    version BIGINT NOT NULL,
    id VARCHAR COLLATE "C" NOT NULL,
    kind VARCHAR COLLATE "C" NOT NULL,
    content VARCHAR COLLATE "C" NOT NULL,
    uri VARCHAR COLLATE "C",
    page INTEGER,
    language VARCHAR COLLATE "C",
    PRIMARY KEY (version, id),
    FOREIGN KEY(version) REFERENCES versions (key) ON DELETE CASCADE
);
CREATE TABLE chunks (
    version BIGINT NOT NULL,
    passage BIGINT NOT NULL,
    position INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    heading VARCHAR COLLATE "C" NOT NULL,
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
    kind VARCHAR COLLATE "C" NOT NULL,
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
    kind VARCHAR COLLATE "C" NOT NULL,
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
    name VARCHAR COLLATE "C" NOT NULL,
    value VARCHAR COLLATE "C" NOT NULL,
    PRIMARY KEY (version, name, value),
    FOREIGN KEY(version) REFERENCES versions (key) ON DELETE CASCADE
);
CREATE INDEX tags_by_value ON tags (name, value);
CREATE TABLE vectors (
    key BIGSERIAL NOT NULL,
    passage BIGINT NOT NULL,
    model VARCHAR COLLATE "C" NOT NULL,
    vector vector NOT NULL,
    checksum BIGINT,
    PRIMARY KEY (key),
    FOREIGN KEY(passage) REFERENCES passages (key) ON DELETE CASCADE
);
CREATE INDEX vectors_by_model ON vectors (model, passage, key);
CREATE UNIQUE INDEX vectors_of_passage ON vectors (passage, model);
CREATE TABLE token_vectors (
    vector BIGINT NOT NULL,
    packed BYTEA NOT NULL,
    PRIMARY KEY (vector),
    FOREIGN KEY(vector) REFERENCES vectors (key) ON DELETE CASCADE
);
INSERT INTO index_versions (side, name, active, model, made, created_at, switched_at) VALUES (1, '1', true, '', '[]', 1.0, 1.0);
