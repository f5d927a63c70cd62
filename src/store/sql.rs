//! The text of every statement, once for all databases. Placeholders are `$1`.
//! Where a statement takes many rows at once they come as one JSON array of
//! arrays. Turning that into rows is the only word in which databases differ, so
//! these statements are in [`Each`].

/// The columns of a project, in the order of `row::ProjectRow`.
macro_rules! columns {
    () => {
        "uid, tenant, id, phase, generation, target, reason, settings, sandbox, owner_uid, \
         owner_gid, container, process, created_at, updated_at, active_at"
    };
}

/// The same, of the table that a join calls `p`.
macro_rules! columns_of_p {
    () => {
        "p.uid, p.tenant, p.id, p.phase, p.generation, p.target, p.reason, p.settings, p.sandbox, \
         p.owner_uid, p.owner_gid, p.container, p.process, p.created_at, p.updated_at, p.active_at"
    };
}

/// The rows of the index of what is not at rest, word for word.
macro_rules! unsettled {
    () => {
        "(phase NOT IN ('stopped', 'failed', 'deleted') \
         OR (phase = 'stopped' AND target = 'running'))"
    };
}

/// Whether the number of `p.owner_uid` is in use: by a project, or by files that
/// a deleted one left behind.
macro_rules! owns {
    () => {
        "(p.phase <> 'deleted' OR p.target = 'deleted_keeping_files')"
    };
}

/// `$1` tenant, `$2` id.
pub(super) const PROJECT_BY_KEY: &str =
    concat!("SELECT ", columns!(), " FROM projects WHERE tenant = $1 AND id = $2 AND gone = 0");

/// `$1` uid; deleted ones too.
pub(super) const PROJECT_BY_UID: &str =
    concat!("SELECT ", columns!(), " FROM projects WHERE uid = $1");

/// `$1` tenant, `$2` above which id, `$3` how many.
pub(super) const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM projects WHERE tenant = $1 AND id > $2 AND gone = 0 ORDER BY id LIMIT $3"
);

/// As [`LIST`]; `$4` a phase at rest.
pub(super) const LIST_AT_REST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM projects WHERE tenant = $1 AND id > $2 AND phase = $4 \
     AND phase IN ('stopped', 'failed') ORDER BY id LIMIT $3"
);

/// As [`LIST`]; `$4` any other phase.
pub(super) const LIST_UNSETTLED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM projects WHERE tenant = $1 AND id > $2 AND phase = $4 AND ",
    unsettled!(),
    " ORDER BY id LIMIT $3"
);

/// As [`LIST`]; `$4` name and `$5` value of a label.
pub(super) const LIST_BY_LABEL: &str = concat!(
    "SELECT ",
    columns_of_p!(),
    " FROM labels AS l CROSS JOIN projects AS p \
     WHERE l.tenant = $1 AND l.id > $2 AND l.name = $4 AND l.value = $5 AND p.uid = l.uid \
     ORDER BY l.id LIMIT $3"
);

/// As [`LIST_BY_LABEL`]; `$6` phase.
pub(super) const LIST_BY_LABEL_AND_PHASE: &str = concat!(
    "SELECT ",
    columns_of_p!(),
    " FROM labels AS l CROSS JOIN projects AS p \
     WHERE l.tenant = $1 AND l.id > $2 AND l.name = $4 AND l.value = $5 AND p.uid = l.uid \
     AND p.phase = $6 ORDER BY l.id LIMIT $3"
);

/// `$1` and `$2` above which tenant and id, `$3` how many.
pub(super) const UNSETTLED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM projects WHERE ",
    unsettled!(),
    " AND (tenant, id) > ($1, $2) ORDER BY tenant, id LIMIT $3"
);

/// The rows of the index of what rests, of one profile. Half of a restart is in it, and is
/// none.
macro_rules! resting {
    () => {
        " FROM projects WHERE profile = $1 AND phase IN ('stopped', 'failed') \
         AND NOT (phase = 'stopped' AND target = 'running')"
    };
}

/// `$1` profile, `$2` how many.
pub(super) const RESTING: &str =
    concat!("SELECT ", columns!(), resting!(), " ORDER BY updated_at, uid LIMIT $2");

/// `$1` profile.
pub(super) const RESTING_COUNT: &str = concat!("SELECT COUNT(*)", resting!());

/// `$1` uid, `$2` above which generation, `$3` how many.
pub(super) const TRANSITIONS: &str = "SELECT generation, from_phase, move, to_phase, reason, \
     principal, at FROM transitions WHERE uid = $1 AND generation > $2 ORDER BY generation LIMIT $3";

/// `$1` key.
pub(super) const META: &str = "SELECT value FROM meta WHERE key = $1";

/// `$1` key, `$2` value; a value that is there stays.
pub(super) const META_ADD: &str =
    "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";

/// `$1` key, `$2` value.
pub(super) const META_SET: &str = "INSERT INTO meta (key, value) VALUES ($1, $2) \
     ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// `$1` tenant, `$2` key.
pub(super) const IDEMPOTENCY: &str =
    "SELECT uid, request_sha256 FROM idempotency WHERE tenant = $1 AND key = $2";

/// `$1` tenant, `$2` key, `$3` uid, `$4` hash of the request, `$5` time.
pub(super) const IDEMPOTENCY_ADD: &str =
    "INSERT INTO idempotency (tenant, key, uid, request_sha256, at) VALUES ($1, $2, $3, $4, $5)";

/// `$1` tenant, `$2` key.
pub(super) const IDEMPOTENCY_REMOVE: &str =
    "DELETE FROM idempotency WHERE tenant = $1 AND key = $2";

/// `$1` owner; a row if it is in use.
pub(super) const OWNER_IN_USE: &str = concat!(
    "SELECT p.owner_uid FROM projects AS p WHERE p.owner_uid = $1 AND ",
    owns!(),
    " LIMIT 1"
);

/// The numbers in use: `$1` from, `$2` end.
pub(super) const OWNERS_IN_USE: &str = concat!(
    "SELECT DISTINCT p.owner_uid FROM projects AS p WHERE p.owner_uid >= $1 AND p.owner_uid < $2 AND ",
    owns!()
);

/// The first free number behind one that was given before: `$1` from, `$2` end.
pub(super) const OWNER_AFTER: &str = concat!(
    "SELECT q.owner_uid + 1 FROM projects AS q \
     WHERE q.owner_uid >= $1 AND q.owner_uid < $2 - 1 AND NOT EXISTS \
     (SELECT 1 FROM projects AS p WHERE p.owner_uid = q.owner_uid + 1 AND ",
    owns!(),
    ") \
     ORDER BY q.owner_uid LIMIT 1"
);

/// `$1` uid, `$2` settings, `$3` time.
pub(super) const SETTINGS: &str = concat!(
    "UPDATE projects SET settings = $2, updated_at = $3 WHERE uid = $1 AND phase <> 'deleted' \
     RETURNING ",
    columns!()
);

/// Statements that take many rows; `$1` is always the JSON array.
#[derive(Debug)]
pub(super) struct Each {
    /// Of sandboxes, `["uid"]`: those of projects that are not deleted.
    pub(super) owned: &'static str,
    /// Of addresses, `[tenant, id]`: the projects that have them.
    pub(super) takers: &'static str,
    /// New projects, as `row::projects` writes them; shows their rows.
    pub(super) projects_add: &'static str,
    /// The first transitions of new projects, from the same rows.
    pub(super) first_transitions_add: &'static str,
    /// Labels: `[tenant, name, value, id, uid]`.
    pub(super) labels_add: &'static str,
    /// Drops all labels of projects, `["uid"]`.
    pub(super) labels_drop: &'static str,
    /// Moves, as `row::moves` writes them, into the log. Goes before
    /// [`Each::moves`]: it needs the phase from before.
    pub(super) moves_log: &'static str,
    /// Moves; shows the rows of those that were allowed.
    pub(super) moves: &'static str,
    /// What is left of deleted projects: `[uid, settings without secrets]`; shows the rows.
    pub(super) scrub: &'static str,
    /// Processes: `[uid, process or null]`; shows the rows.
    pub(super) processes: &'static str,
    /// Times: `[uid, at]`; a later one stays.
    pub(super) activity: &'static str,
}

/// The statements of a database, whose word for the rows of the JSON array `$1`,
/// as `m (value)`, is `$each`.
macro_rules! each {
    ($each:literal) => {
        Each {
            owned: concat!(
                "SELECT p.sandbox FROM ",
                $each,
                " CROSS JOIN projects AS p WHERE p.sandbox = m.value ->> 0 AND p.phase <> 'deleted'"
            ),
            takers: concat!(
                "SELECT ",
                columns_of_p!(),
                " FROM ",
                $each,
                " CROSS JOIN projects AS p WHERE p.tenant = m.value ->> 0 AND p.id = m.value ->> 1 \
                 AND p.gone = 0"
            ),
            projects_add: concat!(
                "INSERT INTO projects (",
                columns!(),
                ", profile) SELECT m.value ->> 0, m.value ->> 1, m.value ->> 2, m.value ->> 3, 1, \
                 m.value ->> 4, 'created', m.value ->> 5, m.value ->> 6, \
                 CAST(m.value ->> 7 AS BIGINT), CAST(m.value ->> 8 AS BIGINT), m.value ->> 11, NULL, \
                 CAST(m.value ->> 9 AS BIGINT), CAST(m.value ->> 9 AS BIGINT), \
                 CAST(m.value ->> 9 AS BIGINT), m.value ->> 12 FROM ",
                $each,
                " WHERE true RETURNING ",
                columns!()
            ),
            first_transitions_add: concat!(
                "INSERT INTO transitions \
                 (uid, generation, from_phase, move, to_phase, reason, principal, at) \
                 SELECT m.value ->> 0, 1, NULL, NULL, m.value ->> 3, 'created', m.value ->> 10, \
                 CAST(m.value ->> 9 AS BIGINT) FROM ",
                $each,
                " WHERE true"
            ),
            labels_add: concat!(
                "INSERT INTO labels (tenant, name, value, id, uid) SELECT m.value ->> 0, \
                 m.value ->> 1, m.value ->> 2, m.value ->> 3, m.value ->> 4 FROM ",
                $each,
                " WHERE true"
            ),
            labels_drop: concat!(
                "DELETE FROM labels WHERE uid IN (SELECT m.value ->> 0 FROM ",
                $each,
                ")"
            ),
            moves_log: concat!(
                "INSERT INTO transitions \
                 (uid, generation, from_phase, move, to_phase, reason, principal, at) \
                 SELECT p.uid, p.generation + 1, p.phase, m.value ->> 2, m.value ->> 3, \
                 m.value ->> 5, m.value ->> 8, CAST(m.value ->> 9 AS BIGINT) FROM ",
                $each,
                " CROSS JOIN projects AS p WHERE p.uid = m.value ->> 0 \
                 AND p.generation = CAST(m.value ->> 1 AS BIGINT) AND p.phase <> 'deleted'"
            ),
            moves: concat!(
                "UPDATE projects SET generation = generation + 1, phase = m.value ->> 3, \
                 target = COALESCE(m.value ->> 4, target), reason = m.value ->> 5, \
                 container = CASE WHEN CAST(m.value ->> 6 AS BIGINT) = 1 THEN m.value ->> 7 \
                 ELSE container END, updated_at = CAST(m.value ->> 9 AS BIGINT) FROM ",
                $each,
                " WHERE uid = m.value ->> 0 AND generation = CAST(m.value ->> 1 AS BIGINT) \
                 AND phase <> 'deleted' RETURNING ",
                columns!()
            ),
            scrub: concat!(
                "UPDATE projects SET gone = 1, settings = m.value ->> 1, container = NULL, \
                 process = NULL FROM ",
                $each,
                " WHERE uid = m.value ->> 0 RETURNING ",
                columns!()
            ),
            processes: concat!(
                "UPDATE projects SET process = m.value ->> 1 FROM ",
                $each,
                " WHERE uid = m.value ->> 0 AND phase <> 'deleted' RETURNING ",
                columns!()
            ),
            activity: concat!(
                "UPDATE projects SET active_at = CAST(m.value ->> 1 AS BIGINT) FROM ",
                $each,
                " WHERE uid = m.value ->> 0 AND phase <> 'deleted' \
                 AND active_at < CAST(m.value ->> 1 AS BIGINT)"
            ),
        }
    };
}

/// As SQLite says it.
pub(super) const SQLITE: Each = each!("json_each($1) AS m");

/// As PostgreSQL says it.
pub(super) const POSTGRES: Each = each!("jsonb_array_elements(CAST($1 AS jsonb)) AS m (value)");
