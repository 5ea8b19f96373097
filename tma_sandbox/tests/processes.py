"""Processes and ports seen from outside, for tests of what must not be left behind."""

import socket
import time
from contextlib import suppress
from pathlib import Path


def stat(pid: int) -> tuple[str, int] | None:
    """A process's state letter and its parent's id; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    found = stat(pid)
    return found is None or found[0] == "Z"


def living() -> dict[int, int]:
    """All processes except zombies, with their parents."""
    every = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return {one: found[1] for one in every if (found := stat(one)) and found[0] != "Z"}


def children(pid: int) -> set[int]:
    """The living children of a process."""
    return {one for one, parent in living().items() if parent == pid}


def marked(marker: str) -> set[int]:
    """The living processes with this text in their environment."""
    found = set()
    for pid in living():
        with suppress(OSError):
            if marker.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.add(pid)
    return found


def listens(port: int) -> bool:
    """Whether a program accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition, timeout: float = 10.0) -> bool:
    """Poll a condition that another process makes true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
