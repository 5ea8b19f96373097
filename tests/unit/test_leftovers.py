"""A run that leaves a process running has failed, whatever became of its tests."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
# A run without the second that leftovers are given to go by themselves.
RUN = """
import sys, pytest
from tests import leftovers
leftovers._GRACE_SECONDS = 0
sys.exit(pytest.main(sys.argv[1:], plugins=[leftovers]))
"""
START = """
import subprocess, sys
def start(**options):
    line = "import time; print('up', flush=True); time.sleep(600)"
    words = [sys.executable, "-c", line]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **options)
    assert child.stdout.readline() == "up\\n"
    open("pids", "a").write(f"{child.pid}\\n")
    return child
"""


@pytest.fixture
def run(tmp_path):
    """Run tests of our own making in a pytest of their own; exit code and output."""

    def run_one(tests, *options):
        (tmp_path / "test_it.py").write_text(START + tests)
        done = subprocess.run(
            [sys.executable, "-c", RUN, "-q", "-p", "no:cacheprovider", *options, "test_it.py"],
            cwd=tmp_path,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(ROOT),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            check=False,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    yield run_one
    for pid in (tmp_path / "pids").read_text().split():
        if psutil.pid_exists(int(pid)):
            psutil.Process(int(pid)).kill()


def started(tmp_path):
    return [int(pid) for pid in (tmp_path / "pids").read_text().split()]


ENDED = "def test_a(): child = start(); child.kill(); child.wait()"
LEFT = "def test_a(): start()"
LEFT_BY_A_FAILURE = "def test_a():\n  start()\n  assert False"
# Its parent has ended, and it is in a session of its own.
ORPHANED = """
def test_a():
    code = "from test_it import start; start(start_new_session=True)"
    subprocess.run([sys.executable, "-c", code], check=True)
"""
# Without the mark, it is found below its parent.
UNMARKED = "def test_a(): start(env={})"


def test_a_run_that_ended_what_it_started_passes(run):
    """Nothing is said."""
    code, output = run(ENDED)

    assert code == 0, output
    assert "left running" not in output


WORKER = ("-p", "xdist", "-n1")


@pytest.mark.parametrize(
    ("tests", "options"),
    [(LEFT, ()), (LEFT_BY_A_FAILURE, ()), (ORPHANED, ()), (ORPHANED, WORKER)],
)
def test_a_process_left_running_fails_the_run(run, tmp_path, tests, options):
    """It is named with the test that started it, and ended."""
    code, output = run(tests, *options)

    [pid] = started(tmp_path)
    assert code == 1, output
    assert f"  {pid} " in output
    assert "(started by test_it.py::test_a (call))" in output
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_one_with_an_environment_of_its_own_is_found_below_its_parent(run, tmp_path):
    """As long as the parent lives."""
    code, output = run(UNMARKED)

    [pid] = started(tmp_path)
    assert code == 1
    assert f"  {pid} " in output
