"""The escape suite: what fallen code inside the sandbox would try, and the machinery that tries it on this machine.

The modules of attempts import the standard library alone: their source is sent into the sandbox and run there.
"""
