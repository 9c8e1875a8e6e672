"""`python -m cloister`: the command line, as services are started, too."""

from __future__ import annotations

from cloister.cli.main import main

if __name__ == "__main__":
    main()
