"""Chains of checks: ordered steps with stable ids, each passed, failed with its shortfall, or not reached.

`examine` functions fill a `Steps` and return an `Examination`; `require()` hands out the verified value or raises
the refusal that names the first failed step. The ids are given up front, so a step that the code forgot is a step
not reached, and an examination with such a step yields nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from cloister.errors import CloisterError, Refused

T = TypeVar("T")


class Outcome(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class Step:
    """One check: its id in docs/formats/checks.md, how it ended, and what was found or missed."""

    id: str
    outcome: Outcome
    detail: str = ""


class RefusedSteps(Refused):
    """Several checks failed, and all are told: `failed`, in their order; the first is the refusal's own."""

    def __init__(self, failed: Sequence[Step]) -> None:
        super().__init__(failed[0].id, failed[0].detail)
        self.failed = tuple(failed)


@dataclass(frozen=True, slots=True)
class Examination(Generic[T]):
    """All steps in their order, and the verified value if every one of them passed."""

    steps: tuple[Step, ...]
    refusal: type[Refused]
    _value: T | None

    @property
    def failed(self) -> list[str]:
        """The ids of the steps that failed."""
        return [step.id for step in self.steps if step.outcome is Outcome.FAILED]

    @property
    def passed(self) -> list[str]:
        """The ids of the steps that passed."""
        return [step.id for step in self.steps if step.outcome is Outcome.PASSED]

    def require(self) -> T:
        """The verified value.

        Raises:
            Refused: of this examination's own type, naming the first step that failed, or was not reached.
        """
        for outcome in (Outcome.FAILED, Outcome.NOT_REACHED):
            for step in self.steps:
                if step.outcome is outcome:
                    raise self.refusal(step.id, step.detail or outcome.value)
        if self._value is None:
            raise self.refusal(self.steps[-1].id, "the examination yielded nothing")
        return self._value

    def require_telling_all(self) -> T:
        """The verified value.

        Raises:
            RefusedSteps: of every step that failed; of the first that was not reached where none did.
        """
        failed = [step for step in self.steps if step.outcome is Outcome.FAILED]
        if failed:
            raise RefusedSteps(failed)
        return self.require()


class Steps:
    """Collects the steps of one examination, whose ids are known before it begins."""

    def __init__(self, ids: Sequence[str], refusal: type[Refused]) -> None:
        self._ids = tuple(ids)
        self._refusal = refusal
        self._steps: dict[str, Step] = {}

    def check(self, step: str, passed: bool, shortfall: str, *, found: str = "") -> bool:
        """Record `step`; a step that failed once stays failed. Returns `passed`, for steps that need this one."""
        if step not in self._ids:
            raise ValueError(f"{step} is not among this examination's steps")
        known = self._steps.get(step)
        if known is None or known.outcome is Outcome.PASSED:
            self._steps[step] = Step(step, Outcome.PASSED, found) if passed else Step(step, Outcome.FAILED, shortfall)
        return passed

    def attempt(self, step: str, action: Callable[[], T], *errors: type[CloisterError], found: str = "") -> T | None:
        """Record `step` as passed if `action` returns, failed if it raises one of `errors`, whose sentence is kept."""
        try:
            value = action()
        except errors as error:
            self.check(step, False, str(error))
            return None
        self.check(step, True, "", found=found)
        return value

    def include(self, other: Examination[T], *, before: str = "") -> T | None:
        """Take over the steps of a part's examination; its value if all of them passed.

        Steps of the part's that were not known here come in with it: next to those of its that were, in its order, or
        right before the step `before`.
        """
        self._make_room([step.id for step in other.steps], before)
        for step in other.steps:
            if step.outcome is not Outcome.NOT_REACHED:
                self.check(step.id, step.outcome is Outcome.PASSED, step.detail, found=step.detail)
        return other._value

    def _make_room(self, ids: Sequence[str], before: str) -> None:
        if all(step in self._ids for step in ids):
            return
        known = [before] if before else [step for step in self._ids if step in ids]
        if not known or known[0] not in self._ids:
            raise ValueError(f"{ids[0]} and what follows has no place among this examination's steps")
        place = self._ids.index(known[0])
        kept = [[step for step in part if step not in ids] for part in (self._ids[:place], self._ids[place:])]
        self._ids = (*kept[0], *ids, *kept[1])

    @property
    def ids(self) -> tuple[str, ...]:
        """All steps in their order, those that came in with parts too."""
        return self._ids

    @property
    def clean(self) -> bool:
        """Whether no step has failed so far."""
        return all(step.outcome is not Outcome.FAILED for step in self._steps.values())

    def examined(self, build: Callable[[], T]) -> Examination[T]:
        """Close the list; `build` runs only if every step passed."""
        steps = tuple(self._steps.get(step, Step(step, Outcome.NOT_REACHED)) for step in self._ids)
        complete = all(step.outcome is Outcome.PASSED for step in steps)
        return Examination(steps, self._refusal, build() if complete else None)

    def stopped(self) -> Examination[T]:
        """Close the list where later steps cannot be reached."""
        steps = tuple(self._steps.get(step, Step(step, Outcome.NOT_REACHED)) for step in self._ids)
        return Examination(steps, self._refusal, None)
