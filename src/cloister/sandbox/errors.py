"""What can go wrong with a sandbox, each with whose fault it is and whether to retry. None quotes a user's content."""

from __future__ import annotations

from cloister.errors import CloisterError, Unavailable


class SandboxUnavailable(CloisterError):
    """This machine cannot hold the sandbox as its profile says. Nothing was started; the sentence says what to do."""

    exit_code = 4


class BelowFloor(SandboxUnavailable):
    """What can be had here denies less than the contract wants. Nothing was started, and no key was asked for."""

    exit_code = 3


class EngineDamaged(SandboxUnavailable):
    """A file of an engine that was installed is gone."""


class EngineCrashed(Unavailable):
    """The engine ended during this request, or answered what is not HTTP. It is being restarted."""

    status = 502


class EngineTimedOut(Unavailable):
    """The engine did not answer in time; it was ended and is being restarted."""

    status = 504


class EngineBusy(Unavailable):
    """Every engine has been at work for as long as a request may wait."""
