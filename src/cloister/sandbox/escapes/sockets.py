"""Ways out by socket: every family, the host's abstract sockets, the descriptors that the engine was given."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
from functools import partial

_libc = ctypes.CDLL(None, use_errno=True)

_MANY = 4096  # descriptors: more than an engine may have
FAMILIES = {  # linux/socket.h
    "AF_AX25": 3,
    "AF_IPX": 4,
    "AF_APPLETALK": 5,
    "AF_X25": 9,
    "AF_KEY": 15,
    "AF_RDS": 21,
    "AF_PPPOX": 24,
    "AF_CAN": 29,
    "AF_TIPC": 30,
    "AF_BLUETOOTH": 31,
    "AF_PHONET": 35,
    "AF_IEEE802154": 36,
    "AF_CAIF": 37,
    "AF_ALG": 38,
    "AF_NFC": 39,
    "AF_KCM": 41,
    "AF_QIPCRTR": 42,
    "AF_SMC": 43,
    "AF_XDP": 44,
    "AF_MCTP": 45,
}
_STREAM, _DATAGRAM, _RAW, _SEQUENCED = 1, 2, 3, 5


def make(family: int, kind: int = _STREAM, protocol: int = 0) -> str:
    """A socket of that family; `EPERM` is the filter's answer, whether or not the kernel has the family."""
    descriptor = _libc.socket(family, kind, protocol)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "socket")
    os.close(descriptor)
    return f"a socket of family {family}"


def pair() -> str:
    """Two sockets that are joined."""
    left, right = socket.socketpair()
    with left, right:
        return "a pair"


def inherited() -> socket.socket:
    """The listening socket that every engine is given."""
    return socket.socket(fileno=os.dup(int(os.environ["LISTEN_FD"])))  # noqa: TID251 - as every engine's


def connect_inherited() -> str:
    """Make a caller of the listening socket: to an abstract name of the host's."""
    with inherited() as listener:
        result = _libc.connect(listener.fileno(), b"\x01\x00\x00/run/dbus\x00", 12)
    if result < 0:
        raise OSError(ctypes.get_errno(), "connect")
    return "connected"


def bind_inherited() -> str:
    """Give the listening socket another name."""
    with inherited() as listener:
        listener.bind(f"{os.environ.get('TMPDIR', '/tmp')}/another.sock")  # noqa: TID251
    return "bound"


def listen_again() -> str:
    """Lengthen the queue of the listening socket."""
    with inherited() as listener:
        listener.listen(4096)
    return "listening"


def accept_another() -> str:
    """Take the connection of another request, if there were one."""
    with inherited() as listener:
        listener.setblocking(False)
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return "there was none to take"
        finally:
            listener.setblocking(True)
    return "taken"


def find_other_descriptors() -> list[str]:
    """Descriptors beyond the standard three, the listener and the one connection."""
    known = {0, 1, 2, int(os.environ["LISTEN_FD"])}  # noqa: TID251 - as every engine's
    kinds = {number: kind for number in range(_MANY) if number not in known and (kind := _kind(number))}
    if len(kinds) == 1 and stat.S_ISSOCK(*kinds.values()):
        raise PermissionError(1, "nothing but what was given")
    return [f"{number}: {stat.filemode(kind)}" for number, kind in kinds.items()]


def _kind(number: int) -> int:
    """The kind of file that a descriptor is of; 0 where there is no such descriptor."""
    try:
        return os.fstat(number).st_mode
    except OSError:
        return 0


LEFT_TO_A_SERVER = frozenset(
    {
        "a unix stream socket",
        "a unix datagram socket",
        "a unix packet socket",
        "a pair of sockets",
        "listen on the inherited socket again",
        "take another request's connection",
    }
)
LEFT_ON_LOOPBACK = frozenset({"a TCP socket"})
ATTEMPTS = {
    "a TCP socket": partial(make, socket.AF_INET),
    "a UDP socket": partial(make, socket.AF_INET, _DATAGRAM),
    "a raw IP socket": partial(make, socket.AF_INET, _RAW, 1),
    "a ping socket": partial(make, socket.AF_INET, _DATAGRAM, 1),
    "an SCTP socket": partial(make, socket.AF_INET, _SEQUENCED, 132),
    "an MPTCP socket": partial(make, socket.AF_INET, _STREAM, 262),
    "a TCP socket of IPv6": partial(make, socket.AF_INET6),
    "a UDP socket of IPv6": partial(make, socket.AF_INET6, _DATAGRAM),
    "a raw socket of IPv6": partial(make, socket.AF_INET6, _RAW, 58),
    "a unix stream socket": partial(make, socket.AF_UNIX),
    "a unix datagram socket": partial(make, socket.AF_UNIX, _DATAGRAM),
    "a unix packet socket": partial(make, socket.AF_UNIX, _SEQUENCED),
    "a route socket (netlink)": partial(make, 16, _RAW, 0),
    "an audit socket (netlink)": partial(make, 16, _RAW, 9),
    "a netfilter socket (netlink)": partial(make, 16, _RAW, 12),
    "a device event socket (netlink)": partial(make, 16, _DATAGRAM, 15),
    "a packet socket": partial(make, 17, _RAW, 768),
    "a stream to the hypervisor (AF_VSOCK)": partial(make, 40),
    "datagrams to the hypervisor (AF_VSOCK)": partial(make, 40, _DATAGRAM),
    **{f"a socket of {name}": partial(make, number, _RAW) for name, number in FAMILIES.items()},
    "a pair of sockets": pair,
    "connect the inherited socket": connect_inherited,
    "bind the inherited socket": bind_inherited,
    "listen on the inherited socket again": listen_again,
    "take another request's connection": accept_another,
    "find descriptors that were left open": find_other_descriptors,
}
OUTSIDE = frozenset(  # any user may do these on any Linux
    {
        "a TCP socket",
        "a UDP socket",
        "a unix stream socket",
        "a unix datagram socket",
        "a unix packet socket",
        "a route socket (netlink)",
        "a device event socket (netlink)",
        "a pair of sockets",
        "listen on the inherited socket again",
        "take another request's connection",
    }
)
