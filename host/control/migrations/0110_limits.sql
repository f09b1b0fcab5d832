-- Plans: what each says of limits, as JSON; what it leaves out is as in `standard`. `by_api` is false of what the operator's file says,
-- which the next start may say anew.
CREATE TABLE plans (
    name       TEXT    NOT NULL PRIMARY KEY,
    says       TEXT    NOT NULL,
    by_api     BOOLEAN NOT NULL,
    updated_ms BIGINT  NOT NULL,
    updated_by TEXT    NOT NULL,
    changes    BIGINT  NOT NULL
);

-- What one tenant has instead of what its plan says, as JSON; why nothing of it runs, where that is so; and the last month in which it was told
-- that most of its fuel is used.
ALTER TABLE tenants ADD COLUMN own_limits TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tenants ADD COLUMN held TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN month TEXT NOT NULL DEFAULT '';

-- How many stages a pipeline has, for the limit on all of a tenant's.
ALTER TABLE pipelines ADD COLUMN stages BIGINT NOT NULL DEFAULT 0;
UPDATE pipelines SET stages = COALESCE(json_array_length(spec, '$.stages'), 0);
