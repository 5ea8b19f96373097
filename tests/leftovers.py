"""No process that a test started outlives the run: one that does fails it, and is named and ended.

Each process inherits a mark in its environment, so it is found even when its parent is gone; a
helper that starts one with an environment of its own adds `run_mark.mark()` to it.
"""

import os
import uuid
from collections.abc import Iterator

import psutil
import pytest

from tests.run_mark import RUN, TEST

# A guard that takes a killed test's server down needs a moment.
_GRACE_SECONDS = 10.0


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run; a worker of pytest-xdist takes part in the one that started it."""
    if not hasattr(config, "workerinput"):
        os.environ[RUN] = uuid.uuid4().hex


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Look when everything else has been torn down: fixtures, and workers with theirs."""
    try:
        return (yield)
    finally:
        if not hasattr(session.config, "workerinput"):
            _judge(session)


def _judge(session: pytest.Session) -> None:
    _, left = psutil.wait_procs(list(_ours()), timeout=_GRACE_SECONDS)
    said = [_described(process) for process in left]
    for process in left:
        process.kill()
    if said:
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        reporter.write_line("\nleft running, which counts as failed:", red=True)
        for line in said:
            reporter.write_line(f"  {line}", red=True)


def _ours() -> Iterator[psutil.Process]:
    """Living processes of this run, except this one."""
    me = psutil.Process()
    below = set(me.children(recursive=True))
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(RUN) == os.environ[RUN]
            dead = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:  # it has just ended, or is another user's
            continue
        if process != me and not dead and (marked or process in below):
            yield process


def _described(process: psutil.Process) -> str:
    try:
        test = process.environ().get(TEST, "some test")
        return f"{process.pid} {' '.join(process.cmdline())[:200]} (started by {test})"
    except psutil.Error:
        return f"{process.pid}, which has ended meanwhile"
