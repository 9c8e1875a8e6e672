"""An island: programs that run inside the sandbox, started by path. They import `errors` and `formats` only."""
