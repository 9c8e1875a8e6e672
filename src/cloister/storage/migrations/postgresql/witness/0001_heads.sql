-- The last size and root that this witness cosigned, for each log; sizes never fall. The digest is SHA-256 over the row.
CREATE TABLE heads (
    origin text PRIMARY KEY,
    size bigint NOT NULL CHECK (size >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;

CREATE TRIGGER heads_never_fall BEFORE UPDATE ON heads
FOR EACH ROW WHEN (new.size < old.size OR (new.size = old.size AND new.root <> old.root))
EXECUTE FUNCTION refuse('a witness never goes back');

CREATE TRIGGER heads_remain BEFORE DELETE OR TRUNCATE ON heads
FOR EACH STATEMENT EXECUTE FUNCTION refuse('a witness never forgets');

-- Written now and then, to know that it can be done.
CREATE TABLE probe (one smallint PRIMARY KEY CHECK (one = 1), written bigint NOT NULL);
INSERT INTO probe VALUES (1, 0);
