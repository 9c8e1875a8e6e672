"""Somebody else's server: listens where it is told, a unix socket's path or a TCP port, and says what it was asked."""

import socket
import sys


def main(place: str) -> None:
    """Answer each connection's line with the same, in capitals; a child's child says it where `fork` is asked."""
    tcp = place.isdigit()
    with socket.socket(socket.AF_INET if tcp else socket.AF_UNIX) as listener:
        listener.bind(("127.0.0.1", int(place)) if tcp else place)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as stream:
                stream.write(stream.readline().upper())


if __name__ == "__main__":
    main(sys.argv[1])
