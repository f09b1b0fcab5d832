-- Whether a module acts on time. Of those that were uploaded before it was asked, nobody knows: they may.
ALTER TABLE modules ADD COLUMN ticks BOOLEAN NOT NULL DEFAULT TRUE;
