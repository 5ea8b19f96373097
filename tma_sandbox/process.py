"""A child process that does not outlive us, even if we are killed."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tma_sandbox.errors import StackError

# Reads the program's pid, then waits. A second line means that the program was stopped cleanly.
# End of file means that we are gone, even by kill -9: then it interrupts the program and removes
# its files. The loop is bounded because a zombie that nobody reaps (in a container without an
# init) looks alive forever.
_GUARD = """
read -r pid
read -r done || {
  kill -INT "$pid"
  [ -n "$1" ] && {
    i=0
    while [ $i -lt 100 ] && kill -0 "$pid"; do sleep 0.1; i=$((i + 1)); done
    rm -rf "$1"
  }
}
"""


# Linux takes ports for outgoing connections from 32768 on, other systems from 49152.
_OUR_PORTS = range(20_000, 32_768)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def free_port() -> int:
    """A TCP port on 127.0.0.1 that is free now.

    It is not one that the system uses for outgoing connections, so a server that is stopped finds
    its port free when it comes back.
    """
    for port in random.sample(_OUR_PORTS, len(_OUR_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise StackError("no TCP port is free on 127.0.0.1")


def _start_guard(owned: Path | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sh", "-c", _GUARD, "guard", str(owned or "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


class Program:
    """One running child process, in its own session so that Ctrl-C reaches only us.

    A guard (a shell at the other end of a pipe) stops the program if we die without calling
    `stop`, and then removes `owned`, a directory that only the program needs. The program's
    output goes to the file `log`.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        owner: tuple[int, int] | None = None,
        owned: Path | None = None,
    ) -> None:
        """Start `argv`, as the (uid, gid) `owner` if given. Raises OSError if it cannot run.

        It inherits our environment, without the PG... variables of Postgres clients, plus `env`.
        """
        self.name = Path(argv[0]).name
        self._log = log
        self._guard = _start_guard(owned)
        user, group = owner or (None, None)
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [str(word) for word in argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=_environment() | dict(env or {}),
                    cwd="/",
                    user=user,
                    group=group,
                    extra_groups=None if owner is None else [],
                    start_new_session=True,
                )
        except BaseException:
            self._guard.kill()
            self._dismiss_guard()
            raise
        self._tell_guard(str(self._process.pid))

    @property
    def pid(self) -> int:
        """The program's process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return self.code is None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of the program's output."""
        with suppress(OSError):
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = 4.0) -> None:
        """Send `sig`, wait up to `timeout` seconds, then kill. Does nothing if already stopped."""
        if self.running:
            self._process.send_signal(sig)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._tell_guard("stopped")
        self._dismiss_guard()

    def _tell_guard(self, line: str) -> None:
        if self._guard.stdin and not self._guard.stdin.closed:
            with suppress(OSError):
                self._guard.stdin.write(f"{line}\n".encode())
                self._guard.stdin.flush()

    def _dismiss_guard(self) -> None:
        if self._guard.stdin:
            with suppress(OSError):
                self._guard.stdin.close()
        self._guard.wait()
