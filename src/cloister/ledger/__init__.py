"""The rules of the transparency log: statements, checkpoints, receipts, witnesses; no I/O, no clock."""
