"""A child program that does not outlive us, whatever happens to us."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tma_sandbox.errors import StackError

# Reads the program's pid, then waits. A second line means that the program has been stopped in
# good order. The end of the pipe means that we are gone, kill -9 included: then the program is
# told to go and its files are removed. The loop is bounded because a zombie that nobody reaps
# (a container without an init) looks alive for ever.
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


# Linux connects from 32768 on, others from 49152.
_OUR_PORTS = range(20_000, 32_768)


def _surroundings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on now.

    It is none of those that the system gives to outgoing connections, so that a server which is
    stopped finds its port free when it comes back.
    """
    for port in random.sample(_OUR_PORTS, len(_OUR_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise StackError("no TCP port is free on 127.0.0.1")


class Program:
    """One running child program, in its own session so that Ctrl-C reaches only us.

    A guard (a shell that holds the other end of a pipe) ends the program when this process dies
    without having called `stop`, and then removes `owned`, a directory that only the program
    needs. What the program prints goes to the file `log`.
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

        It gets our environment and `env`, but none of the PG... variables that steer clients.
        """
        self.name = Path(argv[0]).name
        self._log = log
        self._guard = subprocess.Popen(
            ["sh", "-c", _GUARD, "guard", str(owned or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        user, group = owner or (None, None)
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [str(word) for word in argv],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=_surroundings() | dict(env or {}),
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
        """False once the program has ended, by itself or by `stop`."""
        return self.code is None

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def last_words(self, lines: int = 5) -> str:
        """The end of what the program printed."""
        with suppress(OSError):
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, sig: signal.Signals = signal.SIGTERM, timeout: float = 4.0) -> None:
        """Send `sig`, wait up to `timeout` seconds, then kill. Harmless when already stopped."""
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
