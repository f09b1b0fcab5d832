-- As the SQLite migration of this number.
CREATE TABLE plans (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    says       TEXT             NOT NULL,
    by_api     BOOLEAN          NOT NULL,
    updated_ms BIGINT           NOT NULL,
    updated_by TEXT             NOT NULL,
    changes    BIGINT           NOT NULL
);

ALTER TABLE tenants ADD COLUMN own_limits TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tenants ADD COLUMN held TEXT NOT NULL DEFAULT '';
ALTER TABLE tenants ADD COLUMN month TEXT NOT NULL DEFAULT '';

ALTER TABLE pipelines ADD COLUMN stages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pipelines NO FORCE ROW LEVEL SECURITY;
UPDATE pipelines SET stages = COALESCE(json_array_length(CAST(spec AS JSON) -> 'stages'), 0);
ALTER TABLE pipelines FORCE ROW LEVEL SECURITY;
