"""The ledger: one sequencer that persists, has a quorum of witnesses cosign, and only then answers."""
