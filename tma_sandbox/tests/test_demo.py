"""The demo as a process: what it leaves behind when it is killed."""

import os
import socket
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path

import pytest
from processes import marked, wait_until

from tma_sandbox import demo


def named(pids: set[int], words: str) -> set[int]:
    """The processes whose command line contains these words."""
    found = set()
    for pid in pids:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        found |= {pid} if words in line else set()
    return found


@pytest.fixture
def open_dir():
    """A directory that the user PostgreSQL runs as can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_kill_9_takes_the_bridge_along(open_dir):
    """It leaves no bridge running and none of its files behind."""
    marker = f"DEMO_UNDER_TEST={uuid.uuid4()}"
    surroundings = {"PYTHONUNBUFFERED": "1", "TMPDIR": str(open_dir)} | dict([marker.split("=")])
    with subprocess.Popen(
        [sys.executable, "-m", "realtime_bridge", "demo"],
        cwd=open_dir,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | surroundings,
    ) as process:
        for line in process.stdout:
            if line.startswith("#1 "):
                break
        family = marked(marker)

        process.kill()

        assert named(family, "realtime_bridge run")
        assert wait_until(lambda: marked(marker) == set())
        assert wait_until(lambda: list(open_dir.glob("tma-sandbox-demo-*")) == [])


@pytest.mark.parametrize("end", ["delivered", "failed", "withdrawn", "muted"])
async def test_it_ends_with_its_last_row_however_that_ended(mocker, end):
    """Not before: what waits or is being sent has not ended."""
    mocker.patch.object(demo, "LOOK_SECONDS", 0)
    timelines = mocker.AsyncMock()
    timelines.totals.side_effect = [
        {"delivered": 4},
        {"delivered": 4, "pending": 1},
        {"delivered": 4, "processing": 1},
        dict(Counter(["delivered"] * 4 + [end])),
    ]
    screen = mocker.Mock()

    delivered = await demo._watch(timelines, screen, 5)

    assert delivered == 4 + (end == "delivered")
    assert screen.show.call_count == 4


def test_what_cannot_start_is_told_in_words(tmp_path):
    """A port in use: exit code 78, the port, the fix, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "realtime_bridge", "demo", "--port", str(port)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert ended.returncode == 78
    assert f"port {port} on 127.0.0.1 is in use" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
