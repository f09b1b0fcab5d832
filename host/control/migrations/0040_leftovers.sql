-- Notes of deletions say which making of a pipeline went, the generation with which workers were told so, and what is left in buckets:
-- 'group' stands for everything of a pipeline in the log, and keeps its name from being used again; 'staged' for its unpublished objects.
CREATE TABLE leftovers_told (
    tenant          TEXT   NOT NULL,
    kind            TEXT   NOT NULL CHECK (kind IN ('group', 'staged', 'tenant')),
    project         TEXT   NOT NULL,
    pipeline        TEXT   NOT NULL,
    incarnation     TEXT   NOT NULL,
    told_generation BIGINT NOT NULL,
    since_ms        BIGINT NOT NULL,
    PRIMARY KEY (tenant, kind, project, pipeline, incarnation)
);
INSERT INTO leftovers_told (tenant, kind, project, pipeline, incarnation, told_generation, since_ms)
SELECT tenant, kind, project, pipeline, '', 0, since_ms FROM leftovers;
DROP TABLE leftovers;
ALTER TABLE leftovers_told RENAME TO leftovers;
