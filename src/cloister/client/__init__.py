"""A client: examines a key bundle, encrypts to what it proved, and believes only answers that carry a receipt."""
