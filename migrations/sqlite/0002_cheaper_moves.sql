-- A move rewrote three entries of indexes that depend on the phase, in pages all
-- over the file, though only few of them changed. Now the addresses do not depend
-- on it, and a row is in one of the other two: of those at rest, or of those that
-- are not.

ALTER TABLE projects ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
UPDATE projects SET gone = 1 WHERE phase = 'deleted';

DROP INDEX projects_by_id;
DROP INDEX projects_by_phase;
DROP INDEX projects_unsettled;

-- An id belongs to one project at a time; this is also the order of lists.
CREATE UNIQUE INDEX projects_by_id ON projects (tenant, id) WHERE gone = 0;
CREATE INDEX projects_at_rest ON projects (tenant, phase, id) WHERE phase IN ('stopped', 'failed');
-- What a starting server has to look after; a stopped project whose target is to
-- run was being restarted.
CREATE INDEX projects_unsettled ON projects (tenant, id)
    WHERE (phase NOT IN ('stopped', 'failed', 'deleted') OR (phase = 'stopped' AND target = 'running'));
