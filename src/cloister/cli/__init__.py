"""The command line: one module a verb or noun. What they do lives in the rooms below."""
