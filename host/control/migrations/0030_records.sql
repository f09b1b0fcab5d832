-- What was done with dead letters. The letters themselves are records of their topic; one without a row here is new.
-- `state` is `replaying` (begun, and the outcome not known), `replayed` or `dropped`.
CREATE TABLE dead_letters (
    tenant    TEXT    NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    topic     TEXT    NOT NULL,
    partition INTEGER NOT NULL,
    place     BIGINT  NOT NULL,
    state     TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    at_ms     BIGINT  NOT NULL,
    PRIMARY KEY (tenant, topic, partition, place)
);

-- Lines of stages, and of Bulkhead about a pipeline, which have no stage. Ids rise in the order in which lines came here.
CREATE TABLE log_lines (
    tenant   TEXT    NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    id       TEXT    NOT NULL,
    project  TEXT    NOT NULL,
    pipeline TEXT    NOT NULL,
    stage    TEXT    NOT NULL,
    worker   TEXT    NOT NULL,
    level    INTEGER NOT NULL,
    code     TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    at_ms    BIGINT  NOT NULL,
    bytes    BIGINT  NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX log_lines_by_time ON log_lines (at_ms);

-- How much of `log_lines` is each tenant's, so that its bound costs no count.
CREATE TABLE log_usage (
    tenant TEXT   NOT NULL PRIMARY KEY REFERENCES tenants (tenant) ON DELETE CASCADE,
    lines  BIGINT NOT NULL,
    bytes  BIGINT NOT NULL
);
