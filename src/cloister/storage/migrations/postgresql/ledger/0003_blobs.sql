-- Blobs by SHA-256, for all front ends; never changed. What they take together is counted, for their cap.
CREATE TABLE blobs (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    data bytea NOT NULL CHECK (octet_length(data) <= 16777216)
);
ALTER TABLE blobs ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TRIGGER blobs_stay BEFORE UPDATE ON blobs
FOR EACH STATEMENT EXECUTE FUNCTION refuse('blobs are never changed');

CREATE TABLE blob_bytes (one smallint PRIMARY KEY CHECK (one = 1), used bigint NOT NULL CHECK (used >= 0));
INSERT INTO blob_bytes VALUES (1, 0);
