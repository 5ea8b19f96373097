"""CPU seconds and memory of process trees."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its children, including ended ones."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # it has ended; its parent has its seconds
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def rss_mb(pid: int) -> float:
    """Resident memory now, in MB of 10^6 bytes."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def peak_rss_mb(pid: int) -> float:
    """The peak resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


@dataclass(frozen=True)
class Meter:
    """CPU seconds of several processes since `start`."""

    pids: Mapping[str, int]
    before: Mapping[str, float]

    @classmethod
    def start(cls, **pids: int) -> "Meter":
        """Record what each has used so far."""
        return cls(pids, {name: cpu_seconds(pid) for name, pid in pids.items()})

    def read(self) -> dict[str, float]:
        """CPU seconds since the start, by name."""
        return {name: cpu_seconds(pid) - self.before[name] for name, pid in self.pids.items()}
