"""Evidence becomes authentic, then appraised, in numbered steps; no I/O, no clock."""
