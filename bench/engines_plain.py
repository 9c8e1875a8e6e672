"""An engine without Cloister: the program and the files of the sandbox, outside of it. `engines.py` starts it.

`engines_plain.py PACKAGES PROGRAM [alone]`, by the staged interpreter; LISTEN_FD and MODEL are the engine's own
settings. `alone` serves all requests one after the other in the process that loaded the model, which no engine of ours
does: the difference is what the process for each request costs.
"""

import importlib
import runpy
import sys


def serve_alone(listener, handle, **_):
    """Answer requests on `listener` one after the other, in this process."""
    exchange = importlib.import_module("cloister.engines.http_exchange")
    while True:
        connection, _ = listener.accept()
        with connection:
            exchange.answer_one(connection, handle)


if __name__ == "__main__":
    packages, program, *how = sys.argv[1:]
    sys.path.append(packages)
    if how == ["alone"]:
        importlib.import_module("cloister.engines.server").serve = serve_alone  # type: ignore[attr-defined]
    sys.argv = [program]
    runpy.run_path(program, run_name="__main__")
