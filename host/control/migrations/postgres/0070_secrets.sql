-- Each tenant's keys, wrapped by the master key: hex, in the format of host/vault. The newest version seals, all of them open; without
-- its rows, nothing that was sealed for a tenant opens again.
CREATE TABLE tenant_keys (
    tenant  TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    version BIGINT           NOT NULL,
    wrapped TEXT             NOT NULL,
    made_ms BIGINT           NOT NULL,
    made_by TEXT             NOT NULL,
    PRIMARY KEY (tenant, version)
);

-- Config entries and secrets, sealed under the tenant's key of `key_version`: hex. A value is sealed for tenant, kind, project, name,
-- `made_ms` and `version`, so a row that was copied or put back does not open.
CREATE TABLE entries (
    tenant      TEXT COLLATE "C" NOT NULL,
    kind        TEXT COLLATE "C" NOT NULL,
    project     TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    version     BIGINT           NOT NULL,
    sealed      TEXT             NOT NULL,
    key_version BIGINT           NOT NULL,
    made_ms     BIGINT           NOT NULL,
    updated_ms  BIGINT           NOT NULL,
    updated_by  TEXT             NOT NULL,
    PRIMARY KEY (tenant, kind, project, name),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);

ALTER TABLE tenant_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON tenant_keys USING (tenant = current_setting('bulkhead.tenant', true));
-- To wrap them again under a new master key.
CREATE POLICY background_sees ON tenant_keys FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');

ALTER TABLE entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE entries FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON entries USING (tenant = current_setting('bulkhead.tenant', true));
-- Which values there are, for the assignment; they are sealed.
CREATE POLICY fleet_sees ON entries FOR SELECT USING (current_setting('bulkhead.reach', true) = 'fleet' AND kind = 'secret');
