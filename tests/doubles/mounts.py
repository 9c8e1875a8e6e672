"""A Python process that sees a folder through a mount of its own, which ends with it."""

import subprocess
import sys

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
MEMORY = 'mount -t tmpfs -o mode=0755 tmpfs "$0"'
MEMORY_WITHOUT_PROGRAMS = 'mount -t tmpfs -o mode=0755,noexec tmpfs "$0"'


def in_python(mount, folder, program, *arguments):
    """What became of `program`, run with `arguments` where `folder` is mounted so."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', folder]
    command += [sys.executable, "-c", program, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
