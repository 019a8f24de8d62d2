-- Of a claim: when what it claimed was rendered. 0 where nobody knows, and for every other move.
ALTER TABLE transitions ADD COLUMN rendered_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conflicts ADD COLUMN rendered_at BIGINT NOT NULL DEFAULT 0;

-- Erasures of what is known of an address, by call: what each has taken away so far, and where. `address` is the keyed hash, kept
-- only until what was logged before the erasure has long been copied; then it is empty.
CREATE TABLE erasures (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    address BLOB NOT NULL,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    cancelled BIGINT NOT NULL DEFAULT 0,
    discarded BIGINT NOT NULL DEFAULT 0,
    sending BIGINT NOT NULL DEFAULT 0,
    ready BIGINT NOT NULL DEFAULT 0,
    messages BIGINT NOT NULL DEFAULT 0,
    events BIGINT NOT NULL DEFAULT 0,
    digest BLOB NOT NULL DEFAULT x'',
    finished_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX erasures_by_address ON erasures (address);
