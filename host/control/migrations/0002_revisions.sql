-- Every revision of a pipeline as it was applied, the beginning anew at a chosen start, and what projects are for.

ALTER TABLE projects ADD COLUMN description TEXT NOT NULL DEFAULT '';

-- `incarnation` is new with every pipeline that is made. `start_at` is where partitions without a position begin, in place
-- of what the manifest says; `starts` counts how often that was chosen for a pipeline with positions, and
-- `starting_over` is true until workers have left and those positions are forgotten.
ALTER TABLE pipelines ADD COLUMN incarnation TEXT NOT NULL DEFAULT '';
ALTER TABLE pipelines ADD COLUMN start_at TEXT;
ALTER TABLE pipelines ADD COLUMN starts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE pipelines ADD COLUMN starting_over BOOLEAN NOT NULL DEFAULT FALSE;
-- The generation with which workers were told to leave.
ALTER TABLE pipelines ADD COLUMN told_generation BIGINT NOT NULL DEFAULT 0;

-- `spec` is the manifest with the digests that its modules had when it was applied.
CREATE TABLE applied (
    tenant         TEXT   NOT NULL,
    project        TEXT   NOT NULL,
    pipeline       TEXT   NOT NULL,
    revision       BIGINT NOT NULL,
    manifest       TEXT   NOT NULL,
    spec           TEXT   NOT NULL,
    start_at       TEXT,
    rolled_back_to BIGINT,
    applied_ms     BIGINT NOT NULL,
    applied_by     TEXT   NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, revision),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
INSERT INTO applied (tenant, project, pipeline, revision, manifest, spec, applied_ms, applied_by)
SELECT tenant, project, pipeline, revision, manifest, spec, updated_ms, '' FROM pipelines;
