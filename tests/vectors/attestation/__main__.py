"""`make vectors`: judge every recorded case, one line each, a count last; the exit status is 0 if all are right."""

from __future__ import annotations

import sys

from tests.vectors.attestation import cases, folder, judged, judges

WORDS = {True: "right", False: "WRONG", None: "-"}


def main() -> int:
    """Print what was found; 0 if every case was judged rightly, 1 if not, 2 if there is none."""
    listed = cases()
    if not listed:
        print(f"no cases.json under {folder()}: set CLOISTER_VECTORS to the folder that holds attestation/")
        return 2
    kinds = judges()
    judgements = [judged(case, kinds) for case in listed]
    for one in judgements:
        print(f"{WORDS[one.right]:5}  {one.case.folder.name}/{one.case.id}: {one.sentence}")
    right, wrong, none = (sum(one.right is word for one in judgements) for word in WORDS)
    print(f"{len(listed)} cases: {right} right, {wrong} wrong, {none} not judged")
    return 0 if right == len(listed) else 1


if __name__ == "__main__":
    sys.exit(main())
