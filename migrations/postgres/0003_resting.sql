-- Which profile a project was made from, for the janitor: of each profile's projects at
-- rest it looks at those that have rested longest.

ALTER TABLE projects ADD COLUMN profile TEXT NOT NULL DEFAULT '';
UPDATE projects SET profile = COALESCE(CAST(settings AS jsonb) ->> 'profile', '');

CREATE INDEX projects_resting ON projects (profile, updated_at, uid)
    WHERE phase IN ('stopped', 'failed');
