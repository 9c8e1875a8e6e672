"""NVIDIA's GPUs and LS10 switches: reports and reference manifests become authentic, then appraised together."""
