"""What `cloister ledger audit` prints: a history and what does not follow in it, or JSON lines for a program."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable

import click
import msgspec
from rich.text import Text

from cloister.cli.chain import console
from cloister.cli.terminal import printable
from cloister.contract.audit.auditor import Auditor
from cloister.contract.audit.findings import AuditedEntry, Finding
from cloister.contract.audit.words import moment

MARKS = {"fault": ("✗", "bold red"), "warning": ("!", "yellow"), "note": ("·", "dim")}


class HistoryReport:
    """One line an entry, then what was found, then the sums."""

    def __init__(self, *, brief: bool) -> None:
        """`brief` leaves the entries out."""
        self._out = console()
        self._brief = brief
        self._found: list[Finding] = []

    def entry(self, one: AuditedEntry) -> None:
        """One line of the history."""
        if self._brief:
            return
        signers = ", ".join(str(signer) for signer in one.signers)
        line = Text(f"{one.index:6}  {one.kind or '?':<12}  ") + Text(_plain(one.says))
        line += Text(f"  ({_plain(signers)})" if signers else "", style="dim")
        if not one.counts:
            line += Text(f"  no effect: {_plain(one.lacks)}", style="yellow")
        self._out.print(line)

    def findings(self, found: Iterable[Finding]) -> None:
        """Kept for the end."""
        self._found += found

    def close(self, auditor: Auditor, *, since: int, looked: int) -> None:
        """What was found, and the sums."""
        if self._found:
            self._out.print("" if self._brief else "\nWhat does not follow:\n")
        for one in self._found:
            mark, style = MARKS[one.severity]
            where = "log" if one.index is None else f"entry {one.index}"
            told = Text(f"{where:>12}  ") + Text(f"{mark} {one.severity:<7} {one.check:<22}", style=style)
            self._out.print(told + Text(f" {_plain(one.says)}"))
        self._out.print("")
        for sentence in _sums(auditor, since, looked):
            self._out.print(_plain(sentence))
        counted = _by_severity(self._found).items()
        said = ", ".join(f"{number} {severity}{'s' * (number > 1)}" for severity, number in counted if number)
        self._out.print(f"Found: {said}." if said else "Nothing was found that does not follow.")


class JsonReport:
    """JSON lines: `{"entry": …}`, `{"finding": …}` as they come, `{"summary": …}` last."""

    def __init__(self, *, brief: bool) -> None:
        self._brief = brief
        self._found: Counter[str] = Counter()

    def entry(self, one: AuditedEntry) -> None:
        """One entry."""
        if not self._brief:
            signers = [{"role": by.role, "name": by.name, "key": by.key.hex()} for by in one.signers]
            fields = {name: getattr(one, name) for name in ("index", "kind", "counts", "says", "broken", "lacks")}
            _line({"entry": fields | {"digest": one.digest.hex(), "signers": signers}})

    def findings(self, found: Iterable[Finding]) -> None:
        """Each on a line."""
        for one in found:
            self._found[one.severity] += 1
            fields = {name: getattr(one, name) for name in ("severity", "index", "check", "says")}
            _line({"finding": fields | {"entry": one.entry.hex() or None}})

    def close(self, auditor: Auditor, *, since: int, looked: int) -> None:
        """The sums."""
        held = auditor.checkpoint
        _line(
            {
                "summary": {
                    "size": auditor.size,
                    "since": since,
                    "looked_at": looked,
                    "checkpoint": held
                    and {
                        "origin": held.origin,
                        "size": held.size,
                        "root": held.root.hex(),
                        "cosigned_at": held.cosigned_at,
                        "witnesses": held.witnesses,
                    },
                    "counting": dict(auditor.counts),
                    "without_effect": auditor.size - auditor.counts.total(),
                    "found": {severity: self._found[severity] for severity in MARKS},
                }
            }
        )


def _sums(auditor: Auditor, since: int, looked: int) -> Iterable[str]:
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(auditor.counts.items()) if number)
    void = auditor.size - auditor.counts.total()
    yield f"{auditor.size} entries: {kinds or 'none counts'}; {void} without effect."
    if since:
        yield f"Told of the {looked} from entry {since} on; those before were replayed, not told again."
    if auditor.checkpoint is not None:
        held = auditor.checkpoint
        yield f"They add up to {held.root.hex()}, as {held.origin} signed"
        yield f"and {', '.join(held.witnesses)} cosigned, {moment(held.cosigned_at)} UTC."


def _plain(text: str) -> str:
    """One line of it: a reason that somebody logged must not look like an entry of its own."""
    return " ".join(printable(text).split())


def _by_severity(found: Iterable[Finding]) -> dict[str, int]:
    counted = Counter(one.severity for one in found)
    return {severity: counted[severity] for severity in ("fault", "warning", "note")}


def _line(value: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        click.echo(msgspec.json.encode(value).decode())
