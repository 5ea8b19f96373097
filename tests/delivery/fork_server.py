"""Start real `realtime-bridge run` processes quickly, by forking.

Importing aiogram takes seconds, so one process imports it and forks each replica. Nothing else is
shared: a replica can be killed, stopped and continued like any other process.
"""

import asyncio
import json
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from tests.integration.kit import until
from tests.run_mark import mark

ROOT = Path(__file__).parents[2]


class Replica:
    """One running process."""

    def __init__(self, pid, log):
        self.pid = pid
        self.ended = asyncio.Event()
        self._log = log

    @property
    def output(self):
        """Its output so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    async def says(self, text, seconds=20.0):
        """Wait until its output contains this text."""

        async def said():
            assert not self.ended.is_set() or text in self.output, self.output
            return text in self.output

        await until(said, seconds)

    def signal(self, sig):
        """Send it a signal; harmless when it has ended."""
        if not self.ended.is_set():
            os.kill(self.pid, sig)

    def calls_from(self, port):
        """Whether it has a connection from this port."""
        with suppress(psutil.Error):  # it has just ended
            connections = psutil.Process(self.pid).net_connections("tcp")
            return any(port == one.laddr.port for one in connections)
        return False

    async def stop(self, seconds=60.0):
        """Send SIGTERM, and wait until it has ended as it should."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(seconds):
            await self.ended.wait()

    async def kill(self):
        """Send SIGKILL, and wait until it has ended."""
        self.signal(signal.SIGKILL)
        await self.ended.wait()


class ForkServer:
    """Starts replicas; kills them when the context ends or this process dies."""

    def __init__(self, logs):
        self._logs = logs
        self._replicas = {}
        self._started = asyncio.Queue()

    async def __aenter__(self):
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            cwd=ROOT,
            env={k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ} | mark(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        self._process.stdin.close()
        await self._reading
        await self._process.wait()

    async def start(self, environment):
        """Start a replica with this environment and no other."""
        log = self._logs / f"replica-{len(self._replicas) + 1}.log"
        order = json.dumps({"environment": environment, "log": str(log)})
        self._process.stdin.write(f"{order}\n".encode())
        replica = Replica(await self._started.get(), log)
        self._replicas[replica.pid] = replica
        return replica

    async def _read(self):
        async for line in self._process.stdout:
            word, pid = line.split()
            if word == b"started":
                await self._started.put(int(pid))
            elif replica := self._replicas.get(int(pid)):
                replica.ended.set()


def main():
    """Fork a replica for each line on stdin; kill them all when it closes."""
    import realtime_bridge.bridge
    import realtime_bridge.telegram.sender  # noqa: F401 - the slow import

    children = set()

    def reap(*_):
        while children:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            children.discard(pid)
            os.write(1, f"ended {pid}\n".encode())

    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if not pid:
            become(json.loads(line))
        children.add(pid)
        os.write(1, f"started {pid}\n".encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    for pid in list(children):
        os.kill(pid, signal.SIGKILL)
    while children:
        signal.pause()


def become(order):
    """Become `realtime-bridge run` and never return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(order["environment"])
    random.seed()  # or all forks would draw the same jitter
    sys.argv = ["realtime-bridge", "run"]

    from realtime_bridge.cli import main as run

    code = 1
    try:
        run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
