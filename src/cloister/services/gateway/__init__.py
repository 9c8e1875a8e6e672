"""The gateway: opens encapsulated requests in a TEE, asks the engine, seals the answer."""
