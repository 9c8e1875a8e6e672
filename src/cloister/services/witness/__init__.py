"""A witness: cosigns checkpoints that continue what it cosigned before, and nothing else (C2SP tlog-witness)."""
