"""What code inside a sandbox tries in order to get out. The full suite of attempts grows from these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """Python that raises where it is stopped. `control`: any user may do it outside, so that a control can show it."""

    what: str
    code: bytes
    control: bool


def system_call(call: str) -> bytes:
    """Code that makes `call` on libc, and raises the error it leaves."""
    return f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.{call} < 0:
    raise OSError(ctypes.get_errno(), {call!r})
""".encode()


ATTEMPTS = (
    Attempt("read the machine's users", b"open('/etc/passwd').read()", control=True),
    Attempt("list root's home", b"import os; os.listdir('/root')", control=False),
    Attempt("write to the closure", b"open('/app/packages/x', 'w')", control=False),
    Attempt("write to the system", b"open('/usr/lib/x', 'w')", control=False),
    Attempt("hoard memory in /dev/shm", b"open('/dev/shm/cloister-test', 'wb').write(bytes(2**22))", control=False),
    Attempt("make a TCP socket", b"import socket; socket.socket()", control=True),
    Attempt("make a socket to the host", b"import socket; socket.socket(socket.AF_VSOCK)", control=True),
    Attempt("make a netlink socket", b"import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)", control=True),
    Attempt("make a pair of sockets", b"import socket; socket.socketpair()", control=True),
    Attempt("start a program", b"import os; os.waitpid(os.posix_spawn('/bin/true', ['x'], {}), 0)", control=True),
    Attempt("become a program", b"import os; os.execv('/usr/bin/true', ['x'])", control=False),
    Attempt("fork", b"import os; pid = os.fork(); pid or os._exit(0); os.waitpid(pid, 0)", control=True),
    Attempt("make a user namespace", system_call("unshare(0x10000000)"), control=False),
    Attempt("mount", system_call("mount(b'x', b'/tmp', b'tmpfs', 0, 0)"), control=False),
    Attempt("trace its parent", system_call("ptrace(16, 1, 0, 0)"), control=False),
    Attempt("make memory that nobody counts", b"import os; os.memfd_create('x')", control=True),
    Attempt("make shared memory that nobody counts", system_call("shmget(0, 4096, 0o1600)"), control=False),
    Attempt("signal its parent", b"import os; os.kill(os.getppid(), 0)", control=True),
    Attempt(
        "see other processes",
        b"import os; assert len([p for p in os.listdir('/proc') if p.isdigit()]) > 4",
        control=True,
    ),
    Attempt("use io_uring", system_call("syscall(425, 1, ctypes.create_string_buffer(120))"), control=False),
    Attempt("use a kernel keyring", system_call("syscall(250, 0, -3, 1)"), control=False),
    Attempt(
        "raise its limits", b"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))", control=False
    ),
)
