-- The signed revisions that this machine took, in their order, and what became of each; the processes that it started.
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY CHECK (number >= 1),
    signed BLOB NOT NULL,
    standing TEXT NOT NULL CHECK (standing IN ('missed', 'rolling', 'in force', 'failed', 'past')),
    at INTEGER NOT NULL CHECK (at >= 0),
    said TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX one_is_in_force ON revisions (standing) WHERE standing = 'in force';
CREATE UNIQUE INDEX one_is_rolling ON revisions (standing) WHERE standing = 'rolling';

CREATE TRIGGER revisions_follow BEFORE INSERT ON revisions
WHEN EXISTS (SELECT 1 FROM revisions) AND new.number <> (SELECT max(number) + 1 FROM revisions)
BEGIN SELECT RAISE(ABORT, 'a revision follows the one before'); END;

CREATE TRIGGER revisions_stand BEFORE UPDATE OF number, signed ON revisions
BEGIN SELECT RAISE(ABORT, 'a revision that was taken stays what it is'); END;

CREATE TRIGGER revisions_remain BEFORE DELETE ON revisions
BEGIN SELECT RAISE(ABORT, 'a revision that was taken is never forgotten'); END;

-- A row without a process id is one that was about to be started.
CREATE TABLE processes (
    name TEXT PRIMARY KEY,
    node BLOB NOT NULL,
    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    revision INTEGER NOT NULL CHECK (revision >= 1),
    pid INTEGER,
    started INTEGER,
    boot TEXT,
    restarts INTEGER NOT NULL CHECK (restarts >= 0)
) STRICT;
