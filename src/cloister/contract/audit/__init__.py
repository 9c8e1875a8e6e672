"""Audits a whole log: replays it by the fold's own rules, and says what does not follow from what."""
