-- SHA-256 of the note, which SQLite itself has no checksum of; rows of before get theirs when they are cosigned again.
ALTER TABLE checkpoints ADD COLUMN digest BLOB CHECK (length(digest) = 32);
