-- Who has which role beside what tokens say. `subject` is `user:` and the `sub` of a token, or `group:` and one of its groups;
-- `role` is one of ours or one of `custom_roles`. A binding on a project goes with it: one made again under its name inherits none.

CREATE TABLE custom_roles (
    tenant      TEXT   NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    role        TEXT   NOT NULL,
    description TEXT   NOT NULL,
    actions     TEXT   NOT NULL,
    updated_ms  BIGINT NOT NULL,
    updated_by  TEXT   NOT NULL,
    PRIMARY KEY (tenant, role)
);

CREATE TABLE tenant_bindings (
    tenant     TEXT   NOT NULL REFERENCES tenants (tenant) ON DELETE CASCADE,
    subject    TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    granted_ms BIGINT NOT NULL,
    granted_by TEXT   NOT NULL,
    PRIMARY KEY (tenant, subject, role)
);

CREATE TABLE project_bindings (
    tenant     TEXT   NOT NULL,
    subject    TEXT   NOT NULL,
    project    TEXT   NOT NULL,
    role       TEXT   NOT NULL,
    granted_ms BIGINT NOT NULL,
    granted_by TEXT   NOT NULL,
    PRIMARY KEY (tenant, subject, project, role),
    FOREIGN KEY (tenant, project) REFERENCES projects (tenant, project) ON DELETE CASCADE
);
