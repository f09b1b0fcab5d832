-- What stages have used of what they were granted; see ../0091_uses.sql.
CREATE TABLE grant_uses (
    tenant     TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    pipeline   TEXT COLLATE "C" NOT NULL,
    revision   BIGINT           NOT NULL,
    stage      TEXT COLLATE "C" NOT NULL,
    grant_name TEXT COLLATE "C" NOT NULL,
    uses       BIGINT           NOT NULL,
    first_ms   BIGINT           NOT NULL,
    last_ms    BIGINT           NOT NULL,
    told       BIGINT           NOT NULL,
    due_ms     BIGINT           NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, revision, stage, grant_name),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
CREATE INDEX grant_uses_by_due ON grant_uses (due_ms);

CREATE TABLE grant_use_boots (
    tenant     TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    pipeline   TEXT COLLATE "C" NOT NULL,
    revision   BIGINT           NOT NULL,
    stage      TEXT COLLATE "C" NOT NULL,
    grant_name TEXT COLLATE "C" NOT NULL,
    worker     TEXT COLLATE "C" NOT NULL,
    boot       TEXT COLLATE "C" NOT NULL,
    uses       BIGINT           NOT NULL,
    updated_ms BIGINT           NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, revision, stage, grant_name, worker, boot),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);

ALTER TABLE grant_uses ENABLE ROW LEVEL SECURITY;
ALTER TABLE grant_uses FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON grant_uses USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE grant_use_boots ENABLE ROW LEVEL SECURITY;
ALTER TABLE grant_use_boots FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON grant_use_boots USING (tenant = current_setting('bulkhead.tenant', true));
CREATE POLICY background_sees ON grant_uses FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
