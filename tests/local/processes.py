"""Looking at processes and ports from outside, for tests of what must not stay behind."""

import socket
import time
from pathlib import Path


def stat(pid: int) -> tuple[str, int] | None:
    """A process's state letter and its parent's id; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that nobody reaps has."""
    found = stat(pid)
    return found is None or found[0] == "Z"


def descendants(pid: int) -> set[int]:
    """The living processes that this one started, and theirs."""
    every = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    parents = {one: found[1] for one in every if (found := stat(one)) and found[0] != "Z"}
    family = {pid}
    while more := {one for one, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {pid}


def listens(port: int) -> bool:
    """Whether somebody accepts connections on this port of 127.0.0.1."""
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
