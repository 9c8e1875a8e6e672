"""Sealed models: sealing a folder into an artifact, and opening one into memory."""
