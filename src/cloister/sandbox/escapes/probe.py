"""Runs inside the sandbox in an engine's place: takes attempts, a line of JSON each, and says what became of them.

It runs the Python that it is sent, so it is no engine of any gateway's: only the escape suite stages it. It is started
without the sandbox too, as the control that shows the attempts to be real ones.
"""

from __future__ import annotations

import json
import os
import socket
import sys


def main() -> None:
    """Serve one connection after the other on the inherited listener, each in a process of its own, as engines do."""
    with socket.socket(fileno=int(os.environ["LISTEN_FD"])) as listener:  # noqa: TID251 - as every engine's
        while True:
            connection, _ = listener.accept()
            process = os.fork()
            if process == 0:
                serve(connection)  # with the listener left open, so that only the sandbox keeps it from others
            connection.close()
            if status := os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
                sys.exit(status if status > 0 else 128 - status)


def serve(connection: socket.socket) -> None:
    """Take attempts until the connection ends; then end."""
    with connection.makefile("rb") as lines:
        for line in lines:
            told = json.loads(line)
            connection.sendall(json.dumps(attempt(**told)).encode() + b"\n")
    os._exit(0)


def attempt(source: str, name: str, allowed: dict[str, int]) -> dict[str, object]:
    """What became of `ATTEMPTS[name]` of the module whose source this is; it tries more than what is `allowed`."""
    module: dict[str, object] = {"__name__": "attempts"}
    try:
        exec(compile(source, "attempts", "exec"), module)  # noqa: S102 - what the probe is for
        module["ALLOWED"] = allowed
        got = module["ATTEMPTS"][name]()  # type: ignore[index]
    except (OSError, MemoryError) as error:
        return {"stopped": type(error).__name__, "errno": getattr(error, "errno", None), "why": str(error)}
    except Exception as error:  # noqa: BLE001 - a mistake of the attempt's own is told as one, not as a denial
        return {"broken": f"{type(error).__name__}: {error}"}
    return {"did": repr(got)}


if __name__ == "__main__":
    main()
