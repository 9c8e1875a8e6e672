"""Constitutions, contracts and what they allow: pure rules over what the ledger says."""
