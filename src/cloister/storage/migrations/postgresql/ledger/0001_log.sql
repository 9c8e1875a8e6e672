-- The log: entries by index from 0, never changed and never removed.
CREATE TABLE identity (
    one smallint PRIMARY KEY CHECK (one = 1),
    origin text NOT NULL,
    key bytea NOT NULL CHECK (octet_length(key) = 32)
);

CREATE TABLE entries (
    number bigint PRIMARY KEY CHECK (number >= 0),
    digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32), -- SHA-256 of the entry
    entry bytea NOT NULL CHECK (octet_length(entry) BETWEEN 1 AND 65535)
);
ALTER TABLE entries ALTER COLUMN entry SET STORAGE EXTERNAL; -- signatures and ciphertext: nothing to compress

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;

CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse('entries are never changed');

CREATE TRIGGER entries_remain BEFORE DELETE OR TRUNCATE ON entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse('entries are never removed');

-- Cosigned checkpoints: one root at one size, the note with its latest cosignatures, and SHA-256 of the note.
CREATE TABLE checkpoints (
    size bigint PRIMARY KEY CHECK (size >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note bytea NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);

CREATE TRIGGER roots_stay BEFORE UPDATE ON checkpoints
FOR EACH ROW WHEN (old.root <> new.root OR old.size <> new.size)
EXECUTE FUNCTION refuse('never two roots at one size');

CREATE TRIGGER checkpoints_remain BEFORE DELETE OR TRUNCATE ON checkpoints
FOR EACH STATEMENT EXECUTE FUNCTION refuse('checkpoints are never removed');

-- Written now and then, to know that it can be done.
CREATE TABLE probe (one smallint PRIMARY KEY CHECK (one = 1), written bigint NOT NULL);
INSERT INTO probe VALUES (1, 0);
