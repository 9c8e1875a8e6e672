"""The local system, in one folder: its keys, what it signs, its services and their supervisor."""
