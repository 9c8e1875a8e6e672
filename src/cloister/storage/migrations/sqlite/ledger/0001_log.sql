-- The log: entries by index from 0, never changed and never removed.
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    origin TEXT NOT NULL,
    key BLOB NOT NULL CHECK (length(key) = 32)
) STRICT;

CREATE TABLE entries (
    number INTEGER PRIMARY KEY CHECK (number >= 0),
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the entry
    entry BLOB NOT NULL CHECK (length(entry) BETWEEN 1 AND 65535)
) STRICT;

CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;

CREATE TRIGGER entries_remain BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END;

-- Cosigned checkpoints: one root at one size, the note with its latest cosignatures.
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    note BLOB NOT NULL
) STRICT;

CREATE TRIGGER roots_stay BEFORE UPDATE OF size, root ON checkpoints WHEN old.root <> new.root OR old.size <> new.size
BEGIN SELECT RAISE(ABORT, 'never two roots at one size'); END;
