"""Make tiny models for tests, deterministic on one machine, in some seconds each: `tiny_models.py FOLDER [NAME…]`.

`llama` chats, completes and calls a tool; `encoder` embeds sentences; `whisper` hears what flite (Debian) speaks. They
know what they were shown here and nothing else; the code that loads and runs them is the code for real ones.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

NAMES = ("llama", "encoder", "whisper")


def main(arguments: list[str]) -> int:
    """Make those that are named, or all."""
    if not arguments or not set(arguments[1:]) <= set(NAMES):
        print(__doc__, file=sys.stderr)
        return 2
    sys.path += map(str, sorted(Path(sys.prefix, "engines").glob("*")))  # what `cloister engine install` installed
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    logging.getLogger("transformers").setLevel(logging.ERROR)
    for name in arguments[1:] or NAMES:
        started = time.monotonic()
        try:
            module = importlib.import_module(f"tiny_{name}")
        except ModuleNotFoundError as error:
            print(f"{name}: {error}: cloister engine install transformers whisper", file=sys.stderr)
            return 4
        make(module, Path(arguments[0], name))
        print(f"{name}: {time.monotonic() - started:.1f} s")
    return 0


def make(module: ModuleType, folder: Path) -> None:
    """Have `module` make a model in `folder`, which is there once the model is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unfinished-") as unfinished:
        made = Path(unfinished, folder.name)
        made.mkdir()
        module.make(made)
        if folder.exists():
            folder.rename(Path(unfinished, "before"))
        made.rename(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
