-- The last size and root that this witness cosigned, for each log; sizes never fall.
CREATE TABLE heads (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32)
) STRICT;

CREATE TRIGGER heads_never_fall BEFORE UPDATE ON heads
WHEN new.size < old.size OR (new.size = old.size AND new.root <> old.root)
BEGIN SELECT RAISE(ABORT, 'a witness never goes back'); END;
