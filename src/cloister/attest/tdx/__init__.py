"""Intel TDX and SGX: a quote and Intel's collateral become authentic, then appraised; no I/O, no clock."""
