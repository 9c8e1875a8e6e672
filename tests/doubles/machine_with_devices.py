"""Another view of /dev for a program: the usual devices, and made ones by the names of a GPU's. Takes root.

Arguments: the folders to import from, as JSON; a folder for its state; the Python that a request runs. Prints, as JSON,
what became of it in an engine that is given the devices, and in one that is not.
"""

import sys

if __name__ == "__main__":
    import json

    sys.path[:0] = json.loads(sys.argv[1])

import asyncio
import json
import subprocess
from pathlib import Path

from tests.doubles.sandboxes import FAULTY, SMALL, post

from cloister.sandbox.closure import stage
from cloister.sandbox.plan import plan
from cloister.sandbox.service import EngineService

ROOT = Path(__file__).parents[2]
# Major and minor numbers of zero and null: what reads and writes as a device, and harms nothing.
MADE = {"nvidia0": "1 5", "nvidiactl": "1 3", "nvidia-uvm": "1 3", "nvidia-modeset": "1 3", "other": "1 5"}
_SCRIPT = """
set -e
mount -t tmpfs -o mode=0755 dev "$1"
for name in null zero full random urandom tty; do cp -a "/dev/$name" "$1/"; done
mkdir "$1/shm" "$1/pts"
shift_to="$1"; shift
while [ "$1" != -- ]; do mknod -m 0666 "$shift_to/$1" c $2 $3; shift 3; done
shift
mount --move "$shift_to" /dev
exec "$@"
"""


def ran(folder: Path, code: str) -> dict[str, str]:
    """What this program prints, on such a machine."""
    place = folder / "dev"
    place.mkdir()
    nodes = [word for name, numbers in MADE.items() for word in (name, *numbers.split())]
    command = [sys.executable, "-I", "-B", __file__, json.dumps([str(ROOT), *sys.path]), str(folder), code]
    outer = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh", str(place), *nodes, "--"]
    done = subprocess.run([*outer, *command], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout)
    return said


async def main(folder: Path, code: str) -> None:
    """Run `code` in both."""
    said = {}
    staged = stage(FAULTY, folder / "stage")
    for devices in ("nvidia", "none"):
        planned = plan(SMALL, confinement="server", devices=devices)
        service = EngineService(planned, staged, folder / "run")
        await service.start()
        try:
            said[devices] = (await post(service, "/run", code.encode())).body.decode()
        finally:
            await service.stop()
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[2]), sys.argv[3]))
