"""Our command in a process that is forked, because importing aiogram takes seconds of a processor.

One process for the whole run imports it. A fork of that has nothing else of ours loaded: from there
on all is as after `python -m realtime_bridge`, down to how it ends.
"""

import asyncio
import gc
import io
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.run_mark import mark

ROOT = Path(__file__).parents[2]
_LONGEST_ORDER = 2**20


class Forked:
    """One process, as asyncio.subprocess.Process is one."""

    def __init__(self, pid, stdout, status):
        self.pid = pid
        self.stdout = stdout
        self.returncode = None
        self._ending = asyncio.create_task(self._end(status))

    @classmethod
    async def start(cls, *arguments, cwd, env):
        """Start the command with this environment and no other; its output is one stream."""
        output, its_output = os.pipe()
        status, its_status = os.pipe()
        order = json.dumps({"arguments": arguments, "cwd": str(cwd), "environment": env})
        try:
            pid = await asyncio.to_thread(_server.fork, order, [its_output, its_status])
        finally:
            os.close(its_output)
            os.close(its_status)
        return cls(pid, await _stream(output), await _stream(status))

    async def wait(self):
        """Wait for the end; return the exit code, or a signal's negative number."""
        return await asyncio.shield(self._ending)

    def send_signal(self, sig):
        """Harmless when it has ended."""
        if self.returncode is None:
            os.kill(self.pid, sig)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    async def _end(self, status):
        self.returncode = int(await status.readline())
        return self.returncode


async def _stream(descriptor):
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader


class _Server:
    """The process that is forked, started when first needed. It ends with us, and its forks too."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process = None

    def fork(self, order, descriptors):
        with self._lock:
            if self._process is None:
                self._start()
            socket.send_fds(self._control, [order.encode()], descriptors)
            return int(self._control.recv(64))

    def end(self):
        if self._process is not None:
            self._control.close()
            self._process.wait()
            self._process = None

    def _start(self):
        self._control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # An order of a whole environment is one packet.
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_ORDER)
        with its_control:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(its_control.fileno())],
                cwd=ROOT,
                env={k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ}
                | mark(),
                stdin=subprocess.DEVNULL,
                pass_fds=[its_control.fileno()],
                start_new_session=True,  # Ctrl-C is for pytest
            )


_server = _Server()


def end():
    """End the process that is forked, at the end of the run."""
    _server.end()


def serve(control):
    """Fork at every order; return in the fork, with the order."""
    statuses = {}

    def reap(*_):
        while statuses:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with os.fdopen(statuses.pop(pid), "wb", 0) as told:
                told.write(b"%d\n" % os.waitstatus_to_exitcode(status))

    signal.signal(signal.SIGCHLD, reap)
    while True:
        order, descriptors, *_ = socket.recv_fds(control, _LONGEST_ORDER, 2)
        if not order:
            break
        output, status = descriptors
        os.set_inheritable(status, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if not pid:
            for descriptor in (control.detach(), status, *statuses.values()):
                os.close(descriptor)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            return json.loads(order), output
        os.close(output)
        statuses[pid] = status
        control.send(b"%d" % pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    reap()
    for pid in statuses:
        os.kill(pid, signal.SIGKILL)
    while statuses:
        signal.sigwait({signal.SIGCHLD})
        reap()
    return sys.exit()


def become(order, output):
    """Do what `python -m realtime_bridge` does from here on."""
    for stream, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(output, descriptor)
        # What is there knows that it could seek, if what it was opened on could.
        old, raw = getattr(sys, stream), os.fdopen(descriptor, "wb", 0, closefd=False)
        new = io.TextIOWrapper(raw, old.encoding, old.errors, write_through=True)
        setattr(sys, stream, new)
        setattr(sys, f"__{stream}__", new)
    os.close(output)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    sys.path[0] = order["cwd"]
    sys.path.insert(1, str(ROOT))
    sys.argv = ["realtime-bridge", *order["arguments"]]
    runpy.run_module("realtime_bridge", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    gc.disable()  # an import's objects stay
    import aiogram  # noqa: F401 - the slow import

    gc.freeze()
    gc.enable()
    fork = serve(socket.socket(fileno=int(sys.argv[1])))
    random.seed()  # or all forks would draw the same jitter
    become(*fork)
