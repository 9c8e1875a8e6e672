"""A verifier: judges a node's evidence under a policy that it was given, and says so in a signed token (RFC 9334)."""
