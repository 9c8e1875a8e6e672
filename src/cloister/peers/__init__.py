"""Typed callers of other services: one class each, every wait and every answer bounded, errors translated once."""
