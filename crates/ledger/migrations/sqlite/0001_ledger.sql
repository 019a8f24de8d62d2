-- Times are milliseconds since the Unix epoch; ids, hashes and digests are raw bytes; what is not known is 0 or empty.

-- One row for each acceptance of a message, with its newest state.
CREATE TABLE messages (
    id BLOB NOT NULL,
    accepted_at BIGINT NOT NULL,
    tenant TEXT NOT NULL DEFAULT '',
    template TEXT NOT NULL DEFAULT '',
    bundle_hash BLOB NOT NULL DEFAULT x'',
    lane BIGINT NOT NULL DEFAULT 0,
    identity TEXT NOT NULL DEFAULT '',
    recipient BLOB NOT NULL DEFAULT x'',
    user_hash BLOB NOT NULL DEFAULT x'',
    send_at BIGINT NOT NULL DEFAULT 0,
    expires_at BIGINT NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT '[]',
    digests BLOB NOT NULL DEFAULT x'',
    revision BIGINT NOT NULL DEFAULT 0,
    state BIGINT NOT NULL DEFAULT 0,
    reason BIGINT NOT NULL DEFAULT 0,
    changed_at BIGINT NOT NULL DEFAULT 0,
    erased_at BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (id, accepted_at)
);
CREATE INDEX messages_by_time ON messages (tenant, accepted_at);
CREATE INDEX messages_by_recipient ON messages (tenant, recipient, accepted_at);
CREATE INDEX messages_by_user ON messages (tenant, user_hash, accepted_at);

-- Every move that a message made, and only once.
CREATE TABLE transitions (
    message_id BLOB NOT NULL,
    accepted_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    state BIGINT NOT NULL,
    reason BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (message_id, accepted_at, revision)
);

-- A revision with a second content: Redis lost writes.
CREATE TABLE conflicts (
    message_id BLOB NOT NULL,
    accepted_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    state BIGINT NOT NULL,
    reason BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (message_id, accepted_at, revision, state, reason, attempt, at)
);

-- Outcomes, in the order in which the ledger learnt of them: providers' events and the transitions that callers wait for.
CREATE TABLE events (
    id TEXT NOT NULL,
    accepted_at BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    message_id BLOB NOT NULL,
    attempt BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    template TEXT NOT NULL,
    lane BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    detail TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (id, accepted_at)
);
CREATE INDEX events_by_seq ON events (tenant, seq);
CREATE INDEX events_by_message ON events (message_id, accepted_at, kind);

-- What people did.
CREATE TABLE acts (
    id TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    act TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    tenant TEXT NOT NULL
);
CREATE TABLE acted_on (
    act_id TEXT NOT NULL,
    message_id BLOB NOT NULL,
    PRIMARY KEY (message_id, act_id)
);

-- Sums of events by day: `events` of all, `messages` of those that were a message's first of their kind.
CREATE TABLE sums (
    tenant TEXT NOT NULL,
    template TEXT NOT NULL,
    lane BIGINT NOT NULL,
    day BIGINT NOT NULL,
    kind TEXT NOT NULL,
    events BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    PRIMARY KEY (tenant, template, lane, day, kind)
);

-- Addresses that must not be written to, by keyed hash. `changed_at` orders what is applied to Redis again.
CREATE TABLE suppressions (
    tenant TEXT NOT NULL,
    category TEXT NOT NULL,
    address BLOB NOT NULL,
    reason BIGINT NOT NULL,
    source TEXT NOT NULL,
    at BIGINT NOT NULL,
    sealed BLOB NOT NULL DEFAULT x'',
    removed_at BIGINT NOT NULL DEFAULT 0,
    removed_why TEXT NOT NULL DEFAULT '',
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, category, address)
);
CREATE INDEX suppressions_by_change ON suppressions (changed_at);

-- The number of the newest event. Whoever writes takes it first, so that writers follow each other and no reader by number
-- meets a higher one before a lower.
CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counters VALUES ('event', 0);
