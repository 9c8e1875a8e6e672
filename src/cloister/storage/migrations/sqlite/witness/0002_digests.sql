-- SHA-256 over origin, size and root, which SQLite itself has no checksum of; rows of before get theirs when they change.
ALTER TABLE heads ADD COLUMN digest BLOB CHECK (length(digest) = 32);
