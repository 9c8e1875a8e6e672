"""What services keep on disk: SQLite databases with numbered migrations, blobs by digest, key files."""
