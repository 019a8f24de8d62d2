-- What templates with `keep` say of their messages, until its time is over. Generation 0 is the payload (JSON); others are what a renderer
-- made of that generation (a RenderedMessage under zstd).
CREATE TABLE kept (
    message_id BYTEA NOT NULL,
    accepted_at BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    kept_until BIGINT NOT NULL,
    content BYTEA NOT NULL,
    PRIMARY KEY (message_id, accepted_at, generation)
);
CREATE INDEX kept_by_end ON kept (kept_until);
