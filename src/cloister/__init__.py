"""Cloister: confidential AI whose chain of trust every client checks itself."""
