"""What hardware vendors say about their hardware: kept in a store, fetched from their services, carried in bundles."""
