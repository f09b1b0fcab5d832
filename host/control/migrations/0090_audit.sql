-- The audit as chains of lines: one for each tenant and one for the platform, whose `tenant` is '_platform'. A row of before has no place in a
-- chain and can be given none after the fact, so these are let go.
DROP TABLE audit;

-- The end of each chain. `chain` is new with every tenant that is made, so that a line fits into no other chain.
CREATE TABLE audit_chains (
    tenant     TEXT   NOT NULL PRIMARY KEY,
    chain      TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    hash       TEXT   NOT NULL,
    at_ms      BIGINT NOT NULL,
    pruned_seq BIGINT NOT NULL
);

-- What is asked for has a column of its own and is not in `rest`, so that each part of a line is kept once.
CREATE TABLE audit_lines (
    tenant   TEXT    NOT NULL,
    seq      BIGINT  NOT NULL,
    at_ms    BIGINT  NOT NULL,
    kind     TEXT    NOT NULL,
    subject  TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    resource TEXT    NOT NULL,
    allowed  BOOLEAN NOT NULL,
    rest     TEXT    NOT NULL,
    prev     TEXT    NOT NULL,
    hash     TEXT    NOT NULL,
    PRIMARY KEY (tenant, seq)
);
CREATE INDEX audit_lines_by_time ON audit_lines (tenant, at_ms);

-- Signed: what a chain was at some time, or from where a pruned one goes on.
CREATE TABLE audit_checkpoints (
    tenant TEXT   NOT NULL,
    seq    BIGINT NOT NULL,
    kind   TEXT   NOT NULL CHECK (kind IN ('kept', 'pruned')),
    at_ms  BIGINT NOT NULL,
    token  TEXT   NOT NULL,
    PRIMARY KEY (tenant, kind, seq)
);

-- The one way for lines and checkpoints to go: a row put in here lets go those up to these numbers, and is gone itself.
CREATE TABLE audit_pruning (
    tenant TEXT   NOT NULL PRIMARY KEY,
    lines  BIGINT NOT NULL,
    kept   BIGINT NOT NULL,
    pruned BIGINT NOT NULL
);

-- Where the lines of a tenant go as they are written: its own topic, and how far they are there.
CREATE TABLE audit_topics (
    tenant   TEXT   NOT NULL PRIMARY KEY,
    topic    TEXT   NOT NULL,
    chain    TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    code     TEXT   NOT NULL,
    since_ms BIGINT NOT NULL
);

CREATE TRIGGER audit_prune AFTER INSERT ON audit_pruning
BEGIN
    DELETE FROM audit_lines WHERE tenant = NEW.tenant AND seq <= NEW.lines;
    DELETE FROM audit_checkpoints WHERE tenant = NEW.tenant
        AND ((kind = 'kept' AND seq <= NEW.kept) OR (kind = 'pruned' AND seq <= NEW.pruned));
    DELETE FROM audit_pruning WHERE tenant = NEW.tenant;
END;

CREATE TRIGGER audit_lines_stay BEFORE UPDATE ON audit_lines
BEGIN
    SELECT RAISE(ABORT, 'a line of the audit is never changed');
END;

CREATE TRIGGER audit_lines_go_by_pruning BEFORE DELETE ON audit_lines
WHEN NOT EXISTS (SELECT 1 FROM audit_pruning p WHERE p.tenant = OLD.tenant)
BEGIN
    SELECT RAISE(ABORT, 'a line of the audit goes only where its chain is pruned');
END;

CREATE TRIGGER audit_checkpoints_stay BEFORE UPDATE ON audit_checkpoints
BEGIN
    SELECT RAISE(ABORT, 'a checkpoint of the audit is never changed');
END;

CREATE TRIGGER audit_checkpoints_go_by_pruning BEFORE DELETE ON audit_checkpoints
WHEN NOT EXISTS (SELECT 1 FROM audit_pruning p WHERE p.tenant = OLD.tenant)
BEGIN
    SELECT RAISE(ABORT, 'a checkpoint of the audit goes only where its chain is pruned');
END;
