-- When it was found that Redis has forgotten a message, or where it stood; 0 if it has not, or the message has moved since.
ALTER TABLE messages ADD COLUMN lost_at BIGINT NOT NULL DEFAULT 0;

-- The run of Redis, by shard, that was last held against the ledger.
CREATE TABLE redis_runs (shard BIGINT NOT NULL PRIMARY KEY, run TEXT NOT NULL);
