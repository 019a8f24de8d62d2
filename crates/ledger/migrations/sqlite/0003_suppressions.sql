-- Addresses that must not be written to, by keyed hash, each with all that it is suppressed for: who unsubscribed and bounced is
-- still unsubscribed once the mailbox is there again. Nothing has written to the table before. A row that was removed stays, so
-- that what is older than its removal does not bring it back. `revision` is a number of the events' counter: it rises with each
-- change, so that a reader by it misses none. `sealed` is the address under the deployment's key.
DROP TABLE suppressions;
CREATE TABLE suppressions (
    tenant TEXT NOT NULL,
    category TEXT NOT NULL,
    address BLOB NOT NULL,
    reason BIGINT NOT NULL,
    source TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    sealed BLOB NOT NULL DEFAULT x'',
    removed_at BIGINT NOT NULL DEFAULT 0,
    removed_by TEXT NOT NULL DEFAULT '',
    removed_why TEXT NOT NULL DEFAULT '',
    changed_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (tenant, category, address, reason)
);
CREATE INDEX suppressions_by_revision ON suppressions (revision);
CREATE INDEX suppressions_by_change ON suppressions (changed_at);
