"""`make vectors`: judge every published case of logs, one line each, counts last; 0 if none is wrong.

With --brief, what was judged rightly is counted by its set; what was not judged is always listed by name.
"""

from __future__ import annotations

import sys
from collections import Counter

from tests.vectors.ledger import Judgement, cases, folder, judged

WORDS = {True: "right", False: "WRONG", None: "NOT JUDGED"}


def main(*, brief: bool = False) -> int:
    """Print what was found; 0 if no judged case is wrong, 1 if one is, 2 if there is none."""
    listed = cases()
    if not listed:
        print(f"no sets under {folder()}: set CLOISTER_VECTORS to the folder that holds ledger/")
        return 2
    judgements = [judged(name, case) for name, case in listed.items()]
    for one in judgements:
        if one.right is not True or not brief:
            print(f"{WORDS[one.right]:10}  {one.name}: {one.sentence}")
    for line in counts(judgements):
        print(line)
    return 1 if any(one.right is False for one in judgements) else 0


def counts(judgements: list[Judgement]) -> list[str]:
    """A line for each set, and one for all of them."""
    names = sorted({one.name.partition("/")[0] for one in judgements})
    lines = [_counted(name, [one for one in judgements if one.name.startswith(f"{name}/")]) for name in names]
    return [*lines, _counted("all", judgements)]


def _counted(name: str, judgements: list[Judgement]) -> str:
    found = Counter(one.right for one in judgements)
    return f"{name}: {len(judgements)} cases: {found[True]} right, {found[False]} wrong, {found[None]} not judged"


if __name__ == "__main__":
    sys.exit(main(brief="--brief" in sys.argv[1:]))
