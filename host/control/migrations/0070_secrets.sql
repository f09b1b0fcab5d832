-- Each tenant's keys, wrapped by the master key: hex, in the format of host/vault. The newest version seals, all of them open; without
-- its rows, nothing that was sealed for a tenant opens again.
CREATE TABLE tenant_keys (
    tenant  TEXT   NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    version BIGINT NOT NULL,
    wrapped TEXT   NOT NULL,
    made_ms BIGINT NOT NULL,
    made_by TEXT   NOT NULL,
    PRIMARY KEY (tenant, version)
);

-- Config entries and secrets, sealed under the tenant's key of `key_version`: hex. A value is sealed for tenant, kind, project, name,
-- `made_ms` and `version`, so a row that was copied or put back does not open.
CREATE TABLE entries (
    tenant      TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    project     TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    sealed      TEXT   NOT NULL,
    key_version BIGINT NOT NULL,
    made_ms     BIGINT NOT NULL,
    updated_ms  BIGINT NOT NULL,
    updated_by  TEXT   NOT NULL,
    PRIMARY KEY (tenant, kind, project, name),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);
