-- What stages have used of what they were granted: one row for each combination, and one for each boot of each worker that reported it.
-- `told` of the count is in the audit; at `due_ms` more of it goes there.
CREATE TABLE grant_uses (
    tenant     TEXT   NOT NULL,
    project    TEXT   NOT NULL,
    pipeline   TEXT   NOT NULL,
    revision   BIGINT NOT NULL,
    stage      TEXT   NOT NULL,
    grant_name TEXT   NOT NULL,
    uses       BIGINT NOT NULL,
    first_ms   BIGINT NOT NULL,
    last_ms    BIGINT NOT NULL,
    told       BIGINT NOT NULL,
    due_ms     BIGINT NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, revision, stage, grant_name),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
CREATE INDEX grant_uses_by_due ON grant_uses (due_ms);

CREATE TABLE grant_use_boots (
    tenant     TEXT   NOT NULL,
    project    TEXT   NOT NULL,
    pipeline   TEXT   NOT NULL,
    revision   BIGINT NOT NULL,
    stage      TEXT   NOT NULL,
    grant_name TEXT   NOT NULL,
    worker     TEXT   NOT NULL,
    boot       TEXT   NOT NULL,
    uses       BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, revision, stage, grant_name, worker, boot),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
