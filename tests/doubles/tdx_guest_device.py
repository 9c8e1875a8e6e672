"""`/dev/tdx_guest` as include/uapi/linux/tdx-guest.h has it, and a host's quote generation service on loopback."""

import contextlib
import errno
import socket
import struct
import threading
from dataclasses import dataclass, field, replace

from tests.doubles.tee_reports import TDX
from tests.doubles.tsm_kernel import fault

from cloister.testing.tdx_hardware import TD, td_report


@dataclass
class TdxGuestDevice:
    report_data: bytes | None = None  # in place of what is asked for
    faults: list[int] = field(default_factory=list)

    def ioctl(self, request, argument):
        if request != 0xC4405401 or len(argument) != 1088:
            raise fault(errno.ENOTTY)
        if self.faults:
            raise fault(self.faults.pop(0))
        data = bytes(argument[:64]) if self.report_data is None else self.report_data
        argument[64:] = td_report(replace(TD, report_data=data))
        return 0

    def close(self):
        pass


def answer(quote, *, error=0, kind=1, identity=b""):
    """A message of the service with its length before it."""
    body = struct.pack("<II", len(identity), len(quote)) + identity + quote
    message = struct.pack("<HHIII", 1, 1, kind, 16 + len(body), error) + body
    return len(message).to_bytes(4, "big") + message


def quoted(request):
    """The quote of the TDREPORT in a request, in a buffer that is longer than it."""
    major, _, kind, size, _, report_size, ids = struct.unpack("<HHIIIII", request[:24])
    assert (major, kind, size, report_size, ids) == (1, 0, len(request), 1024, 0)
    return answer(TDX.quote(replace(TD, report_data=request[24 + 128 : 24 + 192])) + bytes(9))


@contextlib.contextmanager
def quote_service(answers=quoted, *, pieces=1000, ends=True):
    """A service that answers each request with `answers` of it, in pieces; where it does not end, it goes silent."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    size = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
                    told = answers(connection.recv(size, socket.MSG_WAITALL))
                    for at in range(0, len(told), pieces):
                        connection.sendall(told[at : at + pieces])
                    if not ends:
                        over.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    ports = []

    def host(port):
        ports.append(port)
        return socket.create_connection(listener.getsockname(), timeout=10)

    try:
        yield host, ports
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
