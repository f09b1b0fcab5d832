-- A tenant's plan, by which its quotas are; whether it is suspended, and with which generation workers were told so; and erasures.
ALTER TABLE tenants ADD COLUMN plan TEXT NOT NULL DEFAULT 'standard';
ALTER TABLE tenants ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN suspended_ms BIGINT;
ALTER TABLE tenants ADD COLUMN suspended_for TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN told_generation BIGINT NOT NULL DEFAULT 0;
-- Rises with whatever a request changes of this row, for its entity tag.
ALTER TABLE tenants ADD COLUMN changes BIGINT NOT NULL DEFAULT 0;

-- A tenant's deletion, from its begin to the proof that nothing is left. The platform's, not the tenant's: `subject_name` is the name
-- as long as something of that name is to be found and removed, and null from then on; `name_digest` is what stays of it.
CREATE TABLE erasures (
    id              TEXT   NOT NULL PRIMARY KEY,
    subject_name    TEXT,
    name_digest     TEXT   NOT NULL,
    state           TEXT   NOT NULL CHECK (state IN ('clearing', 'scrubbing', 'complete')),
    begun_ms        BIGINT NOT NULL,
    begun_by        TEXT   NOT NULL,
    told_generation BIGINT NOT NULL,
    workers         TEXT   NOT NULL,
    deleted         TEXT   NOT NULL,
    remaining       TEXT   NOT NULL,
    verified        TEXT   NOT NULL,
    ended_ms        BIGINT,
    report          TEXT   NOT NULL
);
-- What an earlier version has begun to delete.
INSERT INTO erasures (id, subject_name, name_digest, state, begun_ms, begun_by, told_generation, workers, deleted, remaining,
                      verified, report)
SELECT 'earlier-' || since_ms || '-' || LENGTH(tenant), tenant, '', 'clearing', since_ms, '', 0, '[]', '{}', '[]', '[]', ''
FROM leftovers WHERE kind = 'tenant' ON CONFLICT DO NOTHING;
