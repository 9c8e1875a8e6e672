"""Wire objects: bytes to frozen types and back. Parsing yields something untrusted; nothing here verifies."""
