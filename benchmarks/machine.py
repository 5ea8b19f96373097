"""The machine that the numbers were measured on."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "aiogram", "aiohttp", "pydantic", "realtime", "pgqueuer", "asyncpg", "procrastinate", "psycopg",
)  # fmt: skip


def describe() -> str:
    """The machine, its current load, and all versions."""
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next(line for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    return "\n".join(
        [
            f"CPU: {len(names)} x {names[0].partition(':')[2].strip() if names else 'unknown'}",
            f"Memory: {int(memory.split()[1]) / 2**20:.0f} GiB; {_system()}",
            f"Load average at the start (1/5/15 min): {load}",
            f"Python {platform.python_version()}; "
            + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
            _said("nginx", "-v"),
        ]
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _system() -> str:
    pretty = [line for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME")]
    name = pretty[0].partition("=")[2].strip('"') if pretty else platform.system()
    return f"{name}, Linux {platform.release()}"


def _said(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{argv[0]}: not installed"
    return (done.stdout or done.stderr).strip().splitlines()[0]
