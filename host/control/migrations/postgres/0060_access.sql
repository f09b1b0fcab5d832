-- As 0060_access.sql of SQLite says: who has which role beside what tokens say, and tenants' own roles.

CREATE TABLE custom_roles (
    tenant      TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    role        TEXT COLLATE "C" NOT NULL,
    description TEXT             NOT NULL,
    actions     TEXT             NOT NULL,
    updated_ms  BIGINT           NOT NULL,
    updated_by  TEXT             NOT NULL,
    PRIMARY KEY (tenant, role)
);

CREATE TABLE tenant_bindings (
    tenant     TEXT COLLATE "C" NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    subject    TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    granted_ms BIGINT           NOT NULL,
    granted_by TEXT             NOT NULL,
    PRIMARY KEY (tenant, subject, role)
);

CREATE TABLE project_bindings (
    tenant     TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL,
    granted_ms BIGINT           NOT NULL,
    granted_by TEXT             NOT NULL,
    PRIMARY KEY (tenant, subject, project, role),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);

ALTER TABLE custom_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE custom_roles FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON custom_roles USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE tenant_bindings ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_bindings FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON tenant_bindings USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE project_bindings ENABLE ROW LEVEL SECURITY;
ALTER TABLE project_bindings FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON project_bindings USING (tenant = current_setting('bulkhead.tenant', true));
