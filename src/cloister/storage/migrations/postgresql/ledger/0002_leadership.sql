-- Which of several front ends numbers entries. Each that takes over begins a term; writes of an older one are refused.
CREATE TABLE leadership (
    one smallint PRIMARY KEY CHECK (one = 1),
    term bigint NOT NULL CHECK (term >= 0),
    url text NOT NULL, -- where the others pass on what is to be logged
    backend int NOT NULL, -- the server process of the session that leads
    until timestamptz NOT NULL -- by the server's clock; each write makes it later
);
INSERT INTO leadership VALUES (1, 0, '', 0, '-infinity');

CREATE TRIGGER terms_never_fall BEFORE UPDATE ON leadership
FOR EACH ROW WHEN (new.term < old.term)
EXECUTE FUNCTION refuse('terms never fall');

CREATE TRIGGER leadership_remains BEFORE DELETE OR TRUNCATE ON leadership
FOR EACH STATEMENT EXECUTE FUNCTION refuse('leadership is never removed');
