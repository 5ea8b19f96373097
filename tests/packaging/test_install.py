"""`make install`: it says what is missing, and how far it is."""

import shlex
import subprocess
import sys
import threading
from pathlib import Path

from scripts import with_progress

ROOT = Path(__file__).parents[2]
NO_VENV = """#!/bin/sh
case "$*" in *ensurepip*) exit 1 ;; esac
exec {python} "$@"
"""


def test_a_python_without_venv_is_told_with_the_fix(tmp_path):
    """Debian's, without python3-venv: it would fail halfway, and again at the next try."""
    python = tmp_path / "python3"
    python.write_text(NO_VENV.format(python=shlex.quote(sys.executable)))
    python.chmod(0o755)
    installed = tmp_path / "venv" / ".installed"

    made = subprocess.run(
        ["make", f"PYTHON={python}", f"VENV={installed.parent}", str(installed)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode == 2
    assert "sudo apt-get install python3-venv" in made.stdout
    assert not installed.parent.exists()


def test_progress_is_the_time_and_the_last_line(capsys):
    """In one line that fits, of characters that every terminal has."""
    said = ["Collecting aiohttp\n"]
    with_progress.tell(said, threading.Event(), iter([0.0]))
    said.append("Installing … " + "x" * 100)
    with_progress.tell(said, threading.Event(), iter([0.0]))

    first, second = capsys.readouterr().out.splitlines()
    assert first == "    0 s: Collecting aiohttp"
    assert second.startswith("    0 s: Installing ? xxx")
    assert len(second) == with_progress.WIDTH


def test_a_command_that_works_says_nothing_more(capfd):
    """What it printed was for nobody."""
    assert with_progress.main([sys.executable, "-c", "print('Collecting')"]) == 0
    assert capfd.readouterr() == ("", "")


def test_a_command_that_fails_says_everything(capfd):
    """With its exit code, and its reasons."""
    code = with_progress.main([sys.executable, "-c", "print('why'); raise SystemExit(3)"])

    assert code == 3
    assert capfd.readouterr().err == "why\n"
    assert with_progress.main(["/no/such/program"]) == 127
