-- What control knows. Written in the SQL that SQLite and PostgreSQL share: no AUTOINCREMENT, no dialect functions, times as
-- milliseconds since the epoch, JSON as text. Every table with a tenant's data begins its key with the tenant, so that a
-- query without one is a query that no index serves.

CREATE TABLE tenants (
    tenant     TEXT   NOT NULL PRIMARY KEY,
    created_ms BIGINT NOT NULL
);

CREATE TABLE projects (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    project    TEXT   NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, project)
);

-- A module is its bytes: named by digest, accepted by inspection, never changed.
CREATE TABLE modules (
    tenant      TEXT   NOT NULL,
    project     TEXT   NOT NULL,
    digest      TEXT   NOT NULL,
    bytes       BIGINT NOT NULL,
    imports     TEXT   NOT NULL,
    uploaded_ms BIGINT NOT NULL,
    uploaded_by TEXT   NOT NULL,
    PRIMARY KEY (tenant, project, digest),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);

CREATE TABLE tags (
    tenant     TEXT   NOT NULL,
    project    TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    tag        TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, project, name, tag),
    FOREIGN KEY (tenant, project, digest) REFERENCES modules (tenant, project, digest) ON DELETE CASCADE
);
CREATE INDEX tags_by_digest ON tags (tenant, project, digest);

-- `revision` rises with every applied manifest; `first_revision` is that of the apply which made the row, so that a late
-- report about a deleted pipeline of the same name is told apart.
CREATE TABLE pipelines (
    tenant         TEXT    NOT NULL,
    project        TEXT    NOT NULL,
    pipeline       TEXT    NOT NULL,
    first_revision BIGINT  NOT NULL,
    revision       BIGINT  NOT NULL,
    manifest       TEXT    NOT NULL,
    spec           TEXT    NOT NULL,
    paused         BOOLEAN NOT NULL,
    created_ms     BIGINT  NOT NULL,
    updated_ms     BIGINT  NOT NULL,
    PRIMARY KEY (tenant, project, pipeline),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);

-- Outlives its pipeline: a name that is used again goes on counting, so a worker that missed the deletion sees the change.
CREATE TABLE revisions (
    tenant   TEXT   NOT NULL,
    project  TEXT   NOT NULL,
    pipeline TEXT   NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant, project, pipeline)
);

-- Which modules and topics the current revision of a pipeline uses.
CREATE TABLE pipeline_modules (
    tenant   TEXT NOT NULL,
    project  TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    digest   TEXT NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, digest),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE,
    FOREIGN KEY (tenant, project, digest) REFERENCES modules (tenant, project, digest)
);
CREATE INDEX pipeline_modules_by_digest ON pipeline_modules (tenant, project, digest);

CREATE TABLE pipeline_topics (
    tenant   TEXT NOT NULL,
    project  TEXT NOT NULL,
    pipeline TEXT NOT NULL,
    topic    TEXT NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, topic),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
CREATE INDEX pipeline_topics_by_topic ON pipeline_topics (tenant, topic);

-- Partitions that have had a committed position: there, a missing one is an error and never a reset.
CREATE TABLE initialised (
    tenant    TEXT    NOT NULL,
    project   TEXT    NOT NULL,
    pipeline  TEXT    NOT NULL,
    topic     TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, topic, partition),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);

-- What each boot of each worker said last. A pipeline's totals are the sum over its rows; the row of a boot that is long
-- gone is folded into the boot ''. Counters are cumulative within a boot, so a report that arrives twice counts once.
CREATE TABLE totals (
    tenant       TEXT   NOT NULL,
    project      TEXT   NOT NULL,
    pipeline     TEXT   NOT NULL,
    worker       TEXT   NOT NULL,
    boot         TEXT   NOT NULL,
    records_in   BIGINT NOT NULL,
    records_out  BIGINT NOT NULL,
    bytes_in     BIGINT NOT NULL,
    bytes_out    BIGINT NOT NULL,
    dead_letters BIGINT NOT NULL,
    fuel         BIGINT NOT NULL,
    updated_ms   BIGINT NOT NULL,
    PRIMARY KEY (tenant, project, pipeline, worker, boot),
    FOREIGN KEY (tenant, project, pipeline) REFERENCES pipelines (tenant, project, pipeline) ON DELETE CASCADE
);
CREATE INDEX totals_by_worker ON totals (worker, updated_ms);

-- Raised in the same transaction as each change that a worker must hear of.
CREATE TABLE generation (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    generation BIGINT  NOT NULL
);
INSERT INTO generation (one, generation) VALUES (1, 0);

-- What is left to do in the log and the object store after a deletion; tried until it is done.
CREATE TABLE leftovers (
    tenant   TEXT   NOT NULL,
    kind     TEXT   NOT NULL CHECK (kind IN ('group', 'tenant')),
    project  TEXT   NOT NULL,
    pipeline TEXT   NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, kind, project, pipeline)
);

CREATE TABLE audit (
    id         TEXT    NOT NULL PRIMARY KEY,
    at_ms      BIGINT  NOT NULL,
    subject    TEXT    NOT NULL,
    tenant     TEXT,
    token      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    allowed    BOOLEAN NOT NULL,
    reason     TEXT,
    request_id TEXT    NOT NULL
);
CREATE INDEX audit_by_tenant ON audit (tenant, id);
