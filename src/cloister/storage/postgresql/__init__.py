"""PostgreSQL as the services' database: sessions with limits on every wait, numbered migrations, named faults."""
