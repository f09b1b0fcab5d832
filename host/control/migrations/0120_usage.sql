-- What pipelines have used, an hour of the clock (UTC) to a row: `hour` counts from the epoch. Rows stay when their pipeline goes, since they are
-- what is billed.
CREATE TABLE usage_hours (
    tenant           TEXT   NOT NULL,
    hour             BIGINT NOT NULL,
    project          TEXT   NOT NULL,
    pipeline         TEXT   NOT NULL,
    revision         BIGINT NOT NULL,
    stage            TEXT   NOT NULL,
    batches          BIGINT NOT NULL,
    records_in       BIGINT NOT NULL,
    records_out      BIGINT NOT NULL,
    bytes_in         BIGINT NOT NULL,
    bytes_out        BIGINT NOT NULL,
    fuel             BIGINT NOT NULL,
    wasted_start     BIGINT NOT NULL,
    wasted_failed    BIGINT NOT NULL,
    wasted_confirm   BIGINT NOT NULL,
    wasted_discarded BIGINT NOT NULL,
    wasted_aborted   BIGINT NOT NULL,
    PRIMARY KEY (tenant, hour, project, pipeline, revision, stage)
);

-- Up to where each tenant's records of usage are in the rows above; written in the same transaction as these.
CREATE TABLE usage_positions (
    tenant        TEXT   NOT NULL PRIMARY KEY,
    position      BIGINT NOT NULL,
    deleted_until BIGINT NOT NULL
);
