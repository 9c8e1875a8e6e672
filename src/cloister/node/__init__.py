"""What every role in a TEE does first: fresh keys, and evidence that binds them."""
