-- What pipelines have used; see ../0120_usage.sql.
CREATE TABLE usage_hours (
    tenant           TEXT COLLATE "C" NOT NULL,
    hour             BIGINT           NOT NULL,
    project          TEXT COLLATE "C" NOT NULL,
    pipeline         TEXT COLLATE "C" NOT NULL,
    revision         BIGINT           NOT NULL,
    stage            TEXT COLLATE "C" NOT NULL,
    batches          BIGINT           NOT NULL,
    records_in       BIGINT           NOT NULL,
    records_out      BIGINT           NOT NULL,
    bytes_in         BIGINT           NOT NULL,
    bytes_out        BIGINT           NOT NULL,
    fuel             BIGINT           NOT NULL,
    wasted_start     BIGINT           NOT NULL,
    wasted_failed    BIGINT           NOT NULL,
    wasted_confirm   BIGINT           NOT NULL,
    wasted_discarded BIGINT           NOT NULL,
    wasted_aborted   BIGINT           NOT NULL,
    PRIMARY KEY (tenant, hour, project, pipeline, revision, stage)
);

CREATE TABLE usage_positions (
    tenant        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    position      BIGINT           NOT NULL,
    deleted_until BIGINT           NOT NULL
);

ALTER TABLE usage_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_hours FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON usage_hours USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE usage_positions ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_positions FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON usage_positions USING (tenant = current_setting('bulkhead.tenant', true));

-- The bill is the platform's; the background looks how far each tenant's records are counted, and lets rows go by age.
CREATE POLICY platform_sees ON usage_hours FOR SELECT USING (current_setting('bulkhead.reach', true) = 'platform');
CREATE POLICY background_sees ON usage_hours FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_prunes ON usage_hours FOR DELETE USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON usage_positions FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
