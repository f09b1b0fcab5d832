-- As the SQLite migration of this number.
ALTER TABLE tenants ADD COLUMN plan TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE tenants ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN suspended_ms BIGINT;
ALTER TABLE tenants ADD COLUMN suspended_for TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN told_generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tenants ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;

CREATE TABLE erasures (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject_name    TEXT,
    name_digest     TEXT             NOT NULL,
    state           TEXT             NOT NULL CHECK (state IN ('clearing', 'scrubbing', 'complete')),
    begun_ms        BIGINT           NOT NULL,
    begun_by        TEXT             NOT NULL,
    told_generation BIGINT           NOT NULL,
    workers         TEXT             NOT NULL,
    deleted         TEXT             NOT NULL,
    remaining       TEXT             NOT NULL,
    verified        TEXT             NOT NULL,
    ended_ms        BIGINT,
    report          TEXT             NOT NULL
);

-- Workers are not told of pipelines of suspended tenants: these, and no others, are looked up.
CREATE POLICY fleet_sees_suspended ON tenants FOR SELECT
    USING (current_setting('bulkhead.reach', true) = 'fleet' AND suspended_ms IS NOT NULL);
-- Which modules anybody has, so that compiled code of no other is kept.
CREATE POLICY background_sees ON modules FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
