-- Answers that are kept for a repeated request of the same idempotency key, for a day.
CREATE TABLE answers (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    key         TEXT   NOT NULL,
    fingerprint TEXT   NOT NULL,
    status      BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    etag        TEXT   NOT NULL,
    body        BLOB   NOT NULL,
    kept_ms     BIGINT NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX answers_by_age ON answers (kept_ms);
