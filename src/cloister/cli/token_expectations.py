"""The options by which a relying party says what it expects of a token: each is held, or said not to be."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from cloister.attest.result import ExpectedResult
from cloister.errors import MalformedInput, TooLarge, UsageError
from cloister.formats.appraisal_policy_file import MAXIMUM_POLICY, parse_verifier_policy
from cloister.formats.attestation_result import UNSAFE_FLAGS

Command = TypeVar("Command", bound=Callable[..., Any])
Part = Literal["policy", "subject", "key"]


class Hexadecimal(click.ParamType[bytes]):
    """Bytes as hexadecimal digits, of a certain number where one is given."""

    name = "hex"

    def __init__(self, size: int | None = None) -> None:
        self._size = size

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The bytes."""
        try:
            data = bytes.fromhex(str(value))
        except ValueError:
            self.fail("it is not hexadecimal digits", param, ctx)
        if self._size is not None and len(data) != self._size:
            self.fail(f"it has {len(data)} bytes, not {self._size}", param, ctx)
        return data


_OPTIONS = (
    click.option("--issuer", required=True, metavar="URL", help="The verifier's name."),
    click.option("--audience", required=True, metavar="NAME", help="Your own name, for which the token was made."),
    click.option("--nonce", required=True, type=Hexadecimal(), metavar="HEX", help="The challenge that you gave."),
    click.option(
        "--policy",
        "policies",
        multiple=True,
        metavar="FILE|ID",
        help="A policy whose appraisal counts: a verifier's policy file, or its id, ni:///sha-256;…",
    ),
    click.option("--subject", type=Hexadecimal(32), metavar="HEX", help="The contract that the node has to serve."),
    click.option("--key", type=Hexadecimal(32), metavar="HEX", help="The key that the token's bearer signed with."),
    click.option(
        "--any",
        "anything",
        multiple=True,
        type=click.Choice(["policy", "subject", "key"]),
        help="Take any policy, subject or key.",
    ),
    click.option(
        "--accept",
        "unsafe",
        multiple=True,
        type=click.Choice(sorted(UNSAFE_FLAGS)),
        metavar="UNSAFE…",
        help="An exception that you accept, by its name, as UnsafeAllowSoftwareTee.",
    ),
)


def expectation_options(command: Command) -> Command:
    """All of them, given to the command as `expected`."""

    @functools.wraps(command)
    def with_expected(
        *,
        policies: tuple[str, ...],
        subject: bytes | None,
        key: bytes | None,
        anything: tuple[Part, ...],
        **others: Any,
    ) -> Any:
        _require_each({"policy": policies or None, "subject": subject, "key": key}, anything)
        named: dict[str, Any] = {name: others.pop(name) for name in ("issuer", "audience", "nonce", "unsafe")}
        expected = ExpectedResult(
            presenter="any" if key is None else key,
            subject="any" if subject is None else subject,
            policies="any" if not policies else tuple(map(_policy_id, policies)),
            **named,
        )
        return command(expected=expected, **others)

    decorated: Any = with_expected
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    wrapped: Command = decorated
    return wrapped


def read_option(path: Path, option: str, limit: int) -> bytes:
    """What is in the file that an option names; of a longer one, `limit` bytes and one more.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror}") from error


def _require_each(given: Mapping[str, object], anything: tuple[Part, ...]) -> None:
    """What was merely left out is neither held nor waived."""
    for name, value in given.items():
        if value is None and name not in anything:
            raise UsageError(f"say --{name}, or take any with --any {name}")
        if value is not None and name in anything:
            raise UsageError(f"--{name} and --any {name} contradict each other")


def _policy_id(given: str) -> str:
    if given.startswith("ni:"):
        return given
    try:
        return parse_verifier_policy(read_option(Path(given), "--policy", MAXIMUM_POLICY)).id
    except (MalformedInput, TooLarge) as error:
        raise UsageError(f"--policy {given}: {error}") from error
