-- Times are microseconds since 1970. Texts in JSON are read by the server only.

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row for each project there ever was: a deleted one stays for its
-- transitions, without its settings' secrets, and its uid is never used again.
CREATE TABLE projects (
    uid        TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    id         TEXT    NOT NULL,
    phase      TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    target     TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    settings   TEXT    NOT NULL,
    sandbox    TEXT    NOT NULL,
    owner_uid  INTEGER NOT NULL,
    owner_gid  INTEGER NOT NULL,
    container  TEXT,
    process    TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    active_at  INTEGER NOT NULL
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
    tenant TEXT NOT NULL,
    name   TEXT NOT NULL,
    value  TEXT NOT NULL,
    id     TEXT NOT NULL,
    uid    TEXT NOT NULL REFERENCES projects (uid) ON DELETE CASCADE,
    PRIMARY KEY (tenant, name, value, id)
) WITHOUT ROWID;
CREATE INDEX labels_by_project ON labels (uid);

CREATE TABLE transitions (
    uid        TEXT    NOT NULL REFERENCES projects (uid) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    from_phase TEXT,
    move       TEXT,
    to_phase   TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    principal  TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (uid, generation)
) WITHOUT ROWID;

CREATE TABLE idempotency (
    tenant         TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    uid            TEXT    NOT NULL REFERENCES projects (uid) ON DELETE CASCADE,
    request_sha256 BLOB    NOT NULL,
    at             INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_by_project ON idempotency (uid);
