"""Run a command that says much or nothing, and tell how far it is.

    python3 scripts/with_progress.py pip install ...

After two seconds, and then now and again, a line tells how long it has taken and what the command
said last. All that it said is shown when it fails, and its exit code is kept. Runs before anything
is installed, so it needs nothing but Python.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

FIRST_SECONDS = 2.0
EVERY_SECONDS = 10.0
WIDTH = 79


def main(command: list[str]) -> int:
    """Run it; return its exit code, or 128 and more for the signal that ended it."""
    try:
        process = subprocess.Popen(  # noqa: S603 - it is what somebody typed
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    said: list[str] = []
    ended = threading.Event()
    telling = threading.Thread(target=tell, args=(said, ended, pauses()), daemon=True)
    telling.start()
    try:
        with process:
            said.extend(process.stdout or ())
        code = process.returncode
    except KeyboardInterrupt:  # the command had it too
        process.wait()
        return 128 + signal.SIGINT
    finally:
        ended.set()
        telling.join()
    if code:
        sys.stderr.writelines(said)
    return code if code >= 0 else 128 - code


def pauses() -> Iterator[float]:
    """Seconds until it is told the first time, and again."""
    yield FIRST_SECONDS
    while True:
        yield EVERY_SECONDS


def tell(said: list[str], ended: threading.Event, pauses: Iterator[float]) -> None:
    """Tell the time and the last line after each pause, until it has ended."""
    begun = time.monotonic()
    for pause in pauses:
        if ended.wait(pause):
            return
        told = (line.strip() for line in reversed(said) if not line.startswith("WARNING"))
        last = next(told, "")
        line = f"    {time.monotonic() - begun:.0f} s{': ' if last else ''}{last}"
        print(line[:WIDTH].encode("ascii", "replace").decode(), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
