-- What control knows, on PostgreSQL: the tables of the SQLite migrations up to 0050, with row-level security.
--
-- The owner of these tables runs this; the server logs in as another role, which owns nothing. Every transaction of the server says whose
-- rows it is about: `bulkhead.tenant` is a tenant's name, `bulkhead.reach` one of 'tenant', 'platform', 'fleet' and 'background'
-- (store/tx.rs sets them, for one transaction only). A transaction that says nothing finds nothing.
--
-- For a table of yours: a column `tenant`, first in the key; TEXT is COLLATE "C", so that names sort as they do on SQLite, whatever the
-- database's locale; ENABLE and FORCE row-level security; the policy `own`. The server does not start with a table that has a column
-- `tenant` and no row-level security. A later migration that has to change rows of all tenants says NO FORCE first and FORCE again.
-- No schema is named here: the same files make a schema or a database of one tenant's own.

CREATE TABLE tenants (
    tenant     TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (tenant <> ''),
    created_ms BIGINT           NOT NULL,
    metadata   TEXT             NOT NULL DEFAULT 'shared'
);

CREATE TABLE projects (
    tenant      TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    project     TEXT COLLATE "C" NOT NULL,
    created_ms  BIGINT           NOT NULL,
    description TEXT             NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, project)
);

CREATE TABLE modules (
    tenant      TEXT COLLATE "C" NOT NULL,
    project     TEXT COLLATE "C" NOT NULL,
    digest      TEXT COLLATE "C" NOT NULL,
    bytes       BIGINT           NOT NULL,
    imports     TEXT             NOT NULL,
    uploaded_ms BIGINT           NOT NULL,
    uploaded_by TEXT             NOT NULL,
    ticks       BOOLEAN          NOT NULL DEFAULT TRUE,
    PRIMARY KEY (tenant, project, digest),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);

CREATE TABLE tags (
    tenant     TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    updated_ms BIGINT           NOT NULL,
    PRIMARY KEY (tenant, project, name, tag),
    FOREIGN KEY (tenant, project, digest) REFERENCES modules (tenant, project, digest) ON DELETE CASCADE
);
CREATE INDEX tags_by_digest ON tags (tenant, project, digest);

CREATE TABLE pipelines (
    tenant          TEXT COLLATE "C" NOT NULL,
    project         TEXT COLLATE "C" NOT NULL,
    pipeline        TEXT COLLATE "C" NOT NULL,
    first_revision  BIGINT           NOT NULL,
    revision        BIGINT           NOT NULL,
    manifest        TEXT             NOT NULL,
    spec            TEXT             NOT NULL,
    paused          BOOLEAN          NOT NULL,
    created_ms      BIGINT           NOT NULL,
    updated_ms      BIGINT           NOT NULL,
    incarnation     TEXT COLLATE "C" NOT NULL DEFAULT '',
    start_at        TEXT,
    starts          BIGINT           NOT NULL DEFAULT 0,
    starting_over   BOOLEAN          NOT NULL DEFAULT FALSE,
    told_generation BIGINT           NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, project, pipeline),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);

-- Outlives its pipeline, and its tenant until nothing is left of that.
CREATE TABLE revisions (
    tenant   TEXT COLLATE "C" NOT NULL,
    project  TEXT COLLATE "C" NOT NULL,
    pipeline TEXT COLLATE "C" NOT NULL,
    revision BIGINT           NOT NULL,
    PRIMARY KEY (tenant, project, pipeline)
);

CREATE TABLE applied (
    tenant         TEXT COLLATE "C" NOT NULL,
    project        TEXT COLLATE "C" NOT NULL,
    pipeline       TEXT COLLATE "C" NOT NULL,
    revision       BIGINT           NOT NULL,
    manifest       TEXT             NOT NULL,
    spec           TEXT             NOT NULL,
    start_at       TEXT,
    rolled_back_to BIGINT,
    applied_ms     BIGINT           NOT NULL,
    applied_by     TEXT             NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, revision),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);

CREATE TABLE pipeline_modules (
    tenant   TEXT COLLATE "C" NOT NULL,
    project  TEXT COLLATE "C" NOT NULL,
    pipeline TEXT COLLATE "C" NOT NULL,
    digest   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, digest),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE,
    -- Deferred: where a tenant goes, its modules may go before its pipelines.
    FOREIGN KEY (tenant, project, digest) REFERENCES modules (tenant, project, digest) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX pipeline_modules_by_digest ON pipeline_modules (tenant, project, digest);

CREATE TABLE pipeline_topics (
    tenant   TEXT COLLATE "C" NOT NULL,
    project  TEXT COLLATE "C" NOT NULL,
    pipeline TEXT COLLATE "C" NOT NULL,
    topic    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, topic),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
CREATE INDEX pipeline_topics_by_topic ON pipeline_topics (tenant, topic);

CREATE TABLE initialised (
    tenant    TEXT COLLATE "C" NOT NULL,
    project   TEXT COLLATE "C" NOT NULL,
    pipeline  TEXT COLLATE "C" NOT NULL,
    topic     TEXT COLLATE "C" NOT NULL,
    partition INTEGER          NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, topic, partition),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);

CREATE TABLE totals (
    tenant       TEXT COLLATE "C" NOT NULL,
    project      TEXT COLLATE "C" NOT NULL,
    pipeline     TEXT COLLATE "C" NOT NULL,
    worker       TEXT COLLATE "C" NOT NULL,
    boot         TEXT COLLATE "C" NOT NULL,
    records_in   BIGINT           NOT NULL,
    records_out  BIGINT           NOT NULL,
    bytes_in     BIGINT           NOT NULL,
    bytes_out    BIGINT           NOT NULL,
    dead_letters BIGINT           NOT NULL,
    fuel         BIGINT           NOT NULL,
    updated_ms   BIGINT           NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, worker, boot),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
CREATE INDEX totals_by_worker ON totals (worker, updated_ms);

CREATE TABLE answers (
    tenant      TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    key         TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT             NOT NULL,
    status      BIGINT           NOT NULL,
    kind        TEXT             NOT NULL,
    etag        TEXT             NOT NULL,
    body        BYTEA            NOT NULL,
    kept_ms     BIGINT           NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX answers_by_age ON answers (kept_ms);

CREATE TABLE dead_letters (
    tenant    TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    topic     TEXT COLLATE "C" NOT NULL,
    partition INTEGER          NOT NULL,
    place     BIGINT           NOT NULL,
    state     TEXT             NOT NULL,
    subject   TEXT             NOT NULL,
    at_ms     BIGINT           NOT NULL,
    PRIMARY KEY (tenant, topic, partition, place)
);

CREATE TABLE log_lines (
    tenant   TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    id       TEXT COLLATE "C" NOT NULL,
    project  TEXT COLLATE "C" NOT NULL,
    pipeline TEXT COLLATE "C" NOT NULL,
    stage    TEXT COLLATE "C" NOT NULL,
    worker   TEXT             NOT NULL,
    level    BIGINT           NOT NULL,
    code     TEXT             NOT NULL,
    message  TEXT             NOT NULL,
    at_ms    BIGINT           NOT NULL,
    bytes    BIGINT           NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX log_lines_by_time ON log_lines (at_ms);

CREATE TABLE log_usage (
    tenant TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES tenants (tenant) ON DELETE CASCADE,
    lines  BIGINT           NOT NULL,
    bytes  BIGINT           NOT NULL
);

CREATE TABLE leftovers (
    tenant          TEXT COLLATE "C" NOT NULL,
    kind            TEXT COLLATE "C" NOT NULL CHECK (kind IN ('group', 'staged', 'tenant')),
    project         TEXT COLLATE "C" NOT NULL,
    pipeline        TEXT COLLATE "C" NOT NULL,
    incarnation     TEXT COLLATE "C" NOT NULL,
    told_generation BIGINT           NOT NULL,
    since_ms        BIGINT           NOT NULL,
    PRIMARY KEY (tenant, kind, project, pipeline, incarnation)
);

-- The only table without a tenant. Its one row is locked from the raise to the end of the transaction that raised it, so that who
-- reads a generation sees every change up to it.
CREATE TABLE generation (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    generation BIGINT  NOT NULL
);
INSERT INTO generation (one, generation) VALUES (1, 0);

CREATE TABLE audit (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at_ms      BIGINT           NOT NULL,
    subject    TEXT             NOT NULL,
    tenant     TEXT COLLATE "C",
    token      TEXT             NOT NULL,
    action     TEXT             NOT NULL,
    target     TEXT             NOT NULL,
    allowed    BOOLEAN          NOT NULL,
    reason     TEXT,
    request_id TEXT             NOT NULL
);
CREATE INDEX audit_by_tenant ON audit (tenant, id);

-- Whose rows a transaction is about: its own tenant's, in every table. FORCE binds the owner too, so that a server which logs in as the
-- owner by mistake is no wider.
ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE projects FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON projects USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE modules ENABLE ROW LEVEL SECURITY;
ALTER TABLE modules FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON modules USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE tags ENABLE ROW LEVEL SECURITY;
ALTER TABLE tags FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON tags USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE pipelines ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipelines FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON pipelines USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE revisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE revisions FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON revisions USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE applied ENABLE ROW LEVEL SECURITY;
ALTER TABLE applied FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON applied USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE pipeline_modules ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline_modules FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON pipeline_modules USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE pipeline_topics ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline_topics FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON pipeline_topics USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE initialised ENABLE ROW LEVEL SECURITY;
ALTER TABLE initialised FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON initialised USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE totals ENABLE ROW LEVEL SECURITY;
ALTER TABLE totals FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON totals USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE answers ENABLE ROW LEVEL SECURITY;
ALTER TABLE answers FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON answers USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE dead_letters ENABLE ROW LEVEL SECURITY;
ALTER TABLE dead_letters FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON dead_letters USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE log_lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE log_lines FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON log_lines USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE log_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE log_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON log_usage USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE leftovers ENABLE ROW LEVEL SECURITY;
ALTER TABLE leftovers FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON leftovers USING (tenant = current_setting('bulkhead.tenant', true));

-- A tenant is made by the platform only; seen, changed and deleted under its own name as well.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY own_seen ON tenants FOR SELECT USING (tenant = current_setting('bulkhead.tenant', true));
CREATE POLICY own_changed ON tenants FOR UPDATE USING (tenant = current_setting('bulkhead.tenant', true));
CREATE POLICY own_deleted ON tenants FOR DELETE USING (tenant = current_setting('bulkhead.tenant', true));
CREATE POLICY platform_sees ON tenants FOR SELECT USING (current_setting('bulkhead.reach', true) = 'platform');
CREATE POLICY platform_makes ON tenants FOR INSERT WITH CHECK (current_setting('bulkhead.reach', true) = 'platform');

-- Rows of the audit that are no tenant's are the platform's. Nobody changes a row; only the background deletes, by age.
ALTER TABLE audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit FORCE ROW LEVEL SECURITY;
CREATE POLICY own_seen ON audit FOR SELECT USING (tenant = current_setting('bulkhead.tenant', true));
CREATE POLICY own_written ON audit FOR INSERT WITH CHECK (tenant = current_setting('bulkhead.tenant', true));
CREATE POLICY platform_writes ON audit FOR INSERT
    WITH CHECK (tenant IS NULL AND current_setting('bulkhead.reach', true) = 'platform');

-- Workers are told what every tenant runs. What they report is written under each tenant's name in turn.
CREATE POLICY fleet_sees ON pipelines FOR SELECT USING (current_setting('bulkhead.reach', true) = 'fleet');
CREATE POLICY fleet_sees ON initialised FOR SELECT USING (current_setting('bulkhead.reach', true) = 'fleet');

-- The background looks for what is left to do, and prunes what grows.
CREATE POLICY background_sees ON tenants FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON pipelines FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON leftovers FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON audit FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_prunes ON audit FOR DELETE USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON answers FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_prunes ON answers FOR DELETE USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON log_lines FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_prunes ON log_lines FOR DELETE USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_counts ON log_usage USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_folds ON totals USING (current_setting('bulkhead.reach', true) = 'background');
