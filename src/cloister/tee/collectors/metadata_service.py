"""Azure's metadata service at its link-local address: one exchange over plain HTTP, never through a proxy.

The host answers, so that nothing it says is trusted; and nothing it does may hold a collector up for longer than
`SECONDS`, or fill its memory.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cloister.formats.azure_metadata import MAXIMUM_METADATA
from cloister.tee.collectors.collected import TeeFault, TeeUnavailable

ADDRESS: Final = "169.254.169.254"
SECONDS: Final = 10.0  # for one exchange, from the first byte to the last
_TRIES: Final = 3
_WAIT: Final = 2.0  # seconds between two
_AGAIN: Final = frozenset({410, 429, 500, 502, 503, 504})  # 410: the service is under maintenance


@dataclass(frozen=True, slots=True)
class MetadataService:
    """The service; tests name an address of their own."""

    address: str = ADDRESS
    port: int = 80
    seconds: float = SECONDS
    sleep: Callable[[float], None] = time.sleep

    def fetch(self, path: str, body: bytes | None = None) -> bytes:
        """What is at `path`, at most 64 KiB; with a `body`, in JSON, what is answered to it.

        Raises:
            TeeUnavailable, TeeFault: nothing, or not that.
        """
        for attempt in range(_TRIES):
            if attempt:
                self.sleep(_WAIT)
            status, answer = self._exchange(path, body)
            if status not in _AGAIN:
                break
        where = f"Azure's metadata service at {self.address}{path}"
        if status in _AGAIN:
            raise TeeUnavailable(f"{where} answered {status}, {_TRIES} times: ask again in a minute")
        if status != 200:
            raise TeeFault(f"{where} answered {status}: is this a confidential VM, and may it reach that address?")
        if len(answer) > MAXIMUM_METADATA:
            raise TeeFault(f"{where} answered with more than {MAXIMUM_METADATA} bytes")
        return answer

    def _exchange(self, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=self.seconds)
        try:
            with contextlib.closing(connection), _ended(connection, self.seconds):
                headers = {"Metadata": "true", "Connection": "close", "Accept": "application/json"}
                if body is not None:
                    headers["Content-Type"] = "application/json"
                connection.request("GET" if body is None else "POST", path, body, headers)
                response = connection.getresponse()
                answer = response.read(MAXIMUM_METADATA + 1)
                if response.length and len(answer) <= MAXIMUM_METADATA:  # of a body that is cut, read() says nothing
                    raise http.client.IncompleteRead(answer, response.length)
                return response.status, answer
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise TeeUnavailable(
                f"Azure's metadata service at {self.address}:{self.port} gave no answer ({said[:100]}): is this Azure,"
                " and may this process reach that address, without a proxy?"
            ) from error


@contextlib.contextmanager
def _ended(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Cut the connection when the time is over: a timeout of the socket's is for each read alone."""

    def cut() -> None:
        with contextlib.suppress(OSError, AttributeError):  # there is no socket any more
            connection.sock.shutdown(socket.SHUT_RDWR)

    connection.connect()
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
