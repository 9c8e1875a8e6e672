"""What evidence says, field by field, in words: one module a vendor; pure, and no judge of anything."""
