"""The memory of processes over time, and whether it grows."""

from __future__ import annotations

from dataclasses import dataclass, field

from systems import Running, resident_mib, warm_engine

ROLES = ("witness", "ledger", "kms", "gateway", "relay", "proxy")
TOLERATED_MIB = 4.0  # by which a process may have grown by the line through its samples; and
TOLERATED_PART = 0.05  # of its size: allocators move in steps
START_UP_SECONDS = 15.0  # of a process, in which it loads what it then holds

Sample = tuple[float, float]  # seconds since the soak began, MiB


@dataclass
class Memory:
    """Samples of each process in each of its lives.

    Of the engine only the process that loaded the model is looked at: those that it forks come and go with requests.
    """

    running: Running
    lives: dict[str, dict[int, list[Sample]]] = field(default_factory=dict)  # by name and process id

    def sample(self, at: float) -> None:
        pids = {role: self.running.pid(role) for role in ROLES}
        pids["engine"] = warm_engine(pids["gateway"])
        for name, pid in pids.items():
            self.add(name, pid, at, resident_mib(pid))

    def add(self, name: str, pid: int, at: float, size: float) -> None:
        """One sample; none where nothing runs."""
        if size:
            self.lives.setdefault(name, {}).setdefault(pid, []).append((at, size))

    def now(self) -> str:
        """The sizes, short."""
        latest = {name: list(lives.values())[-1][-1][1] for name, lives in self.lives.items()}
        return " ".join(f"{name} {size:.0f}" for name, size in latest.items())

    def judged(self, since: float, *, start_up: float = START_UP_SECONDS) -> dict[str, dict[str, float | bool]]:
        """Of each process: first and last size, the slope, and whether that is flat, in the life that grew the most.

        What a process had before `since`, or in the first `start_up` seconds of its life, does not count.
        """
        found = {}
        for name, lives in self.lives.items():
            settled = [
                [sample for sample in life if sample[0] >= max(since, life[0][0] + start_up)] for life in lives.values()
            ]
            long = [life for life in settled if len(life) >= 3]
            if long:
                found[name] = judgement(max(long, key=growth_of))
        return found


def judgement(life: list[Sample]) -> dict[str, float | bool]:
    """What is told of one life."""
    mean = sum(size for _, size in life) / len(life)
    return {
        "first_mib": round(life[0][1], 1),
        "last_mib": round(life[-1][1], 1),
        "slope_mib_per_hour": round(slope_of(life) * 3600, 2),
        "flat": growth_of(life) <= max(TOLERATED_MIB, TOLERATED_PART * mean),
    }


def growth_of(samples: list[Sample]) -> float:
    """MiB, by the line through the samples."""
    return slope_of(samples) * (samples[-1][0] - samples[0][0])


def slope_of(samples: list[Sample]) -> float:
    """MiB a second, of the line through the samples (least squares)."""
    mean_at = sum(at for at, _ in samples) / len(samples)
    mean_size = sum(size for _, size in samples) / len(samples)
    spread = sum((at - mean_at) ** 2 for at, _ in samples)
    return sum((at - mean_at) * (size - mean_size) for at, size in samples) / spread if spread else 0.0
