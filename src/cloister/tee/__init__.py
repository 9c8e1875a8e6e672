"""TEE devices: what measures this process and signs the measurement. The software TEE says what it is."""
