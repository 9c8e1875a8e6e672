"""The memory of processes over time, and whether it grows."""

from __future__ import annotations

from dataclasses import dataclass, field

from systems import Running, children, descendants, resident_mib

ROLES = ("witness", "ledger", "kms", "gateway", "relay", "proxy")
TOLERATED_MIB = 4.0  # by which a process may have grown by the line through its samples; and
TOLERATED_PART = 0.05  # of its size: allocators move in steps


@dataclass
class Memory:
    """Samples of each process, since it was last started."""

    running: Running
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # seconds, MiB
    _pids: dict[str, int] = field(default_factory=dict)

    def sample(self, at: float) -> None:
        pids = {role: self.running.pid(role) for role in ROLES}
        pids["engine"] = next(iter(children(pids["gateway"])), 0)
        for name, pid in pids.items():
            if pid != self._pids.get(name):
                self._pids[name], self.series[name] = pid, []
            size = sum(map(resident_mib, descendants(pid))) if name == "engine" else resident_mib(pid)
            if size:
                self.series[name].append((at, size))

    def now(self) -> str:
        """The sizes, short."""
        return " ".join(f"{name} {series[-1][1]:.0f}" for name, series in self.series.items() if series)

    def judged(self, since: float) -> dict[str, dict[str, float | bool]]:
        """Of each process: first and last size after `since`, the slope, and whether that is flat."""
        found: dict[str, dict[str, float | bool]] = {}
        for name, series in self.series.items():
            settled = [sample for sample in series if sample[0] >= since]
            if len(settled) < 3:
                continue
            slope = slope_of(settled)
            mean = sum(size for _, size in settled) / len(settled)
            growth = slope * (settled[-1][0] - settled[0][0])
            found[name] = {
                "first_mib": round(settled[0][1], 1),
                "last_mib": round(settled[-1][1], 1),
                "slope_mib_per_hour": round(slope * 3600, 2),
                "flat": growth <= max(TOLERATED_MIB, TOLERATED_PART * mean),
            }
        return found


def slope_of(samples: list[tuple[float, float]]) -> float:
    """MiB a second, of the line through the samples (least squares)."""
    mean_at = sum(at for at, _ in samples) / len(samples)
    mean_size = sum(size for _, size in samples) / len(samples)
    spread = sum((at - mean_at) ** 2 for at, _ in samples)
    return sum((at - mean_at) * (size - mean_size) for at, size in samples) / spread if spread else 0.0
