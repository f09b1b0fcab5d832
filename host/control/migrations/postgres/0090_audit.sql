-- The audit as chains of lines; see ../0090_audit.sql. A chain's rows are its tenant's; those of '_platform', which no tenant can be called,
-- are the platform's.
--
-- The server's role may add lines and checkpoints, and neither change nor delete one (store/postgres.rs revokes that): they go by a row
-- in audit_pruning alone, on which their owner acts.
DROP TABLE audit;

CREATE TABLE audit_chains (
    tenant     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    chain      TEXT             NOT NULL,
    seq        BIGINT           NOT NULL,
    hash       TEXT             NOT NULL,
    at_ms      BIGINT           NOT NULL,
    pruned_seq BIGINT           NOT NULL
);

CREATE TABLE audit_lines (
    tenant   TEXT COLLATE "C" NOT NULL,
    seq      BIGINT           NOT NULL,
    at_ms    BIGINT           NOT NULL,
    kind     TEXT COLLATE "C" NOT NULL,
    subject  TEXT COLLATE "C" NOT NULL,
    action   TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    allowed  BOOLEAN          NOT NULL,
    rest     TEXT             NOT NULL,
    prev     TEXT             NOT NULL,
    hash     TEXT             NOT NULL,
    PRIMARY KEY (tenant, seq)
);
CREATE INDEX audit_lines_by_time ON audit_lines (tenant, at_ms);

CREATE TABLE audit_checkpoints (
    tenant TEXT COLLATE "C" NOT NULL,
    seq    BIGINT           NOT NULL,
    kind   TEXT COLLATE "C" NOT NULL CHECK (kind IN ('kept', 'pruned')),
    at_ms  BIGINT           NOT NULL,
    token  TEXT             NOT NULL,
    PRIMARY KEY (tenant, kind, seq)
);

CREATE TABLE audit_pruning (
    tenant TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    lines  BIGINT           NOT NULL,
    kept   BIGINT           NOT NULL,
    pruned BIGINT           NOT NULL
);

CREATE TABLE audit_topics (
    tenant   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    topic    TEXT COLLATE "C" NOT NULL,
    chain    TEXT             NOT NULL,
    seq      BIGINT           NOT NULL,
    code     TEXT             NOT NULL,
    since_ms BIGINT           NOT NULL
);

-- As the owner, whom row-level security binds too: so only rows of the chain that the transaction is about.
CREATE FUNCTION audit_prune() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM audit_lines WHERE tenant = NEW.tenant AND seq <= NEW.lines;
    DELETE FROM audit_checkpoints WHERE tenant = NEW.tenant
        AND ((kind = 'kept' AND seq <= NEW.kept) OR (kind = 'pruned' AND seq <= NEW.pruned));
    DELETE FROM audit_pruning WHERE tenant = NEW.tenant;
    RETURN NULL;
END
$$;
CREATE TRIGGER audit_prune AFTER INSERT ON audit_pruning FOR EACH ROW EXECUTE FUNCTION audit_prune();

ALTER TABLE audit_chains ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_chains FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON audit_chains USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE audit_lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_lines FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON audit_lines USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE audit_checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_checkpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON audit_checkpoints USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE audit_pruning ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_pruning FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON audit_pruning USING (tenant = current_setting('bulkhead.tenant', true));
ALTER TABLE audit_topics ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_topics FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON audit_topics USING (tenant = current_setting('bulkhead.tenant', true));

CREATE POLICY platforms ON audit_chains
    USING (tenant = '_platform' AND current_setting('bulkhead.reach', true) = 'platform');
CREATE POLICY platforms ON audit_lines
    USING (tenant = '_platform' AND current_setting('bulkhead.reach', true) = 'platform');
CREATE POLICY platforms ON audit_checkpoints
    USING (tenant = '_platform' AND current_setting('bulkhead.reach', true) = 'platform');
CREATE POLICY platforms ON audit_pruning
    USING (tenant = '_platform' AND current_setting('bulkhead.reach', true) = 'platform');

-- The background looks which chains have grown, and which lines are to go to a topic.
CREATE POLICY background_sees ON audit_chains FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON audit_checkpoints FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
CREATE POLICY background_sees ON audit_topics FOR SELECT USING (current_setting('bulkhead.reach', true) = 'background');
