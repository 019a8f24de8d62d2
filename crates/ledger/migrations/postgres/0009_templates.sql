-- Templates that were published, each version once and for good. `authored` is the hash of the files as their author wrote them, by which
-- a repeated call is known: what releases make of these files may differ. `hash` is that of the bundle that is rendered, and `bundle` the bundle, packed:
-- the last, for SQLite reads through what stands before a column.
CREATE TABLE templates (
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    authored BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    bundle BYTEA NOT NULL,
    PRIMARY KEY (name, version)
);

-- All that is announced of them, so that what is looked at each minute reads no bundle.
CREATE INDEX templates_announced ON templates (name, version, hash, authored);
