-- Times are microseconds since 1970. Texts in JSON are read by the server only.
-- Texts sort by their bytes, whatever the database's locale: lists are paged by id.

CREATE TABLE meta (
    key   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row for each project there ever was: a deleted one stays for its
-- transitions, without its settings' secrets, and its uid is never used again.
CREATE TABLE projects (
    uid        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant     TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    phase      TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    target     TEXT COLLATE "C" NOT NULL,
    reason     TEXT NOT NULL,
    settings   TEXT NOT NULL,
    sandbox    TEXT COLLATE "C" NOT NULL,
    owner_uid  BIGINT NOT NULL,
    owner_gid  BIGINT NOT NULL,
    container  TEXT,
    process    TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    active_at  BIGINT NOT NULL
);

-- An id belongs to one project at a time; this is also the order of lists.
CREATE UNIQUE INDEX projects_by_id ON projects (tenant, id) WHERE phase <> 'deleted';
CREATE INDEX projects_by_phase ON projects (tenant, phase, id) WHERE phase <> 'deleted';
-- What a starting server has to look after; a stopped project whose target is to
-- run was being restarted.
CREATE INDEX projects_unsettled ON projects (uid)
    WHERE (phase NOT IN ('stopped', 'failed', 'deleted') OR (phase = 'stopped' AND target = 'running'));
CREATE UNIQUE INDEX projects_by_sandbox ON projects (sandbox);
CREATE INDEX projects_by_owner ON projects (owner_uid);

-- Labels a second time, in the order of a list with a label.
CREATE TABLE labels (
    tenant TEXT COLLATE "C" NOT NULL,
    name   TEXT COLLATE "C" NOT NULL,
    value  TEXT COLLATE "C" NOT NULL,
    id     TEXT COLLATE "C" NOT NULL,
    uid    TEXT COLLATE "C" NOT NULL REFERENCES projects (uid) ON DELETE CASCADE,
    PRIMARY KEY (tenant, name, value, id)
);
CREATE INDEX labels_by_project ON labels (uid);

CREATE TABLE transitions (
    uid        TEXT COLLATE "C" NOT NULL REFERENCES projects (uid) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    from_phase TEXT COLLATE "C",
    move       TEXT COLLATE "C",
    to_phase   TEXT COLLATE "C" NOT NULL,
    reason     TEXT NOT NULL,
    principal  TEXT NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (uid, generation)
);

CREATE TABLE idempotency (
    tenant         TEXT COLLATE "C" NOT NULL,
    key            TEXT COLLATE "C" NOT NULL,
    uid            TEXT COLLATE "C" NOT NULL REFERENCES projects (uid) ON DELETE CASCADE,
    request_sha256 BYTEA NOT NULL,
    at             BIGINT NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX idempotency_by_project ON idempotency (uid);
