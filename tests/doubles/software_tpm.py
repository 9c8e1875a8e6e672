"""A real TPM 2.0 in software (swtpm), and Debian's tools that speak to it."""

import contextlib
import os
import shutil
import socket
import subprocess

MISSING = [name for name in ("swtpm", "tpm2_quote") if shutil.which(name) is None]
WHY_NOT = f"{', '.join(MISSING)} not installed: apt-get install swtpm tpm2-tools"


def two_ports():
    """Two free ports next to each other: commands go to the first, control to the second."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two ports next to each other are free")


class SoftwareTpm:
    """A running swtpm, and Debian's tools that speak to it."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.environment = os.environ | {"TPM2TOOLS_TCTI": f"swtpm:host=127.0.0.1,port={port}"}

    def run(self, *command):
        subprocess.run(
            command, cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True, timeout=60
        )

    def read(self, name):
        return (self.folder / name).read_bytes()


@contextlib.contextmanager
def software_tpm(folder):
    """One that was started up, its state in `folder`; it ends with the context."""
    port = two_ports()
    process = subprocess.Popen(
        [
            *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}", "--flags", "not-need-init,startup-clear"),
            *("--server", f"type=tcp,port={port},bindaddr=127.0.0.1"),
            *("--ctrl", f"type=tcp,port={port + 1},bindaddr=127.0.0.1"),
        ]
    )
    made = SoftwareTpm(folder, port)
    try:
        made.run("tpm2_startup", "-c")
        yield made
    finally:
        process.terminate()
        process.wait(timeout=10)
