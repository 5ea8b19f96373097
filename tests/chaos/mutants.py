"""`python -m tests.chaos.mutants`: bugs put in on purpose; exits 1 when one is not found.

Each is put into a scratch copy of the tree, where the tests that ought to notice are run.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
COPIED = ("conftest.py", "realtime_bridge", "tma_sandbox", "supabase", "tests", "pyproject.toml")
CHAOS = "tests/chaos/test_chaos.py"
MODEL = "tests/sql/test_model.py::test_the_sql_does_what_the_reference_says"
SETTLE = "supabase/migrations/20261101000400_settle_tma_events.sql"
CLAIM = "supabase/migrations/20261101000300_claim_tma_events.sql"


@dataclass(frozen=True)
class Mutant:
    """`old` becomes `new` in `file`, wherever it stands; `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(
        "settle without the attempt check",
        SETTLE,
        "e.id = any (v_ids) and e.id = o.id and e.attempt = o.attempt",
        "e.id = o.id",
        MODEL,
    ),
    Mutant(
        "the fence is skipped",
        "realtime_bridge/telegram/sender.py",
        "ours = await self._start(event)",
        "ours = True",
        CHAOS,
    ),
    Mutant(
        "the fence is passed whoever holds the row",
        SETTLE,
        "e.id = c.id and e.attempt = c.attempt",
        "e.id = c.id",
        MODEL,
    ),
    Mutant(
        "the wake flag is cleared after the claim",
        "realtime_bridge/worker/pump.py",
        "            raise\n        if self._schedule.stopped:",
        "            raise\n        self._schedule.take()\n        if self._schedule.stopped:",
        "tests/unit/test_pump.py",
    ),
    Mutant(
        "what may have been sent is sent again",
        "realtime_bridge/worker/event_queue.py",
        "if policy.delivery is Delivery.AT_MOST_ONCE:",
        "if False:",
        CHAOS,
    ),
    Mutant(
        "a claim takes any row of a chat",
        CLAIM,
        "and e.id = (",
        "and 0 < (",
        "tests/delivery/test_order.py",
    ),
    Mutant(
        "an outcome is dropped when the database does not answer",
        "realtime_bridge/worker/outcome_writer.py",
        "                await asyncio.sleep(wait)\n            except Refused",
        "                return\n            except Refused",
        "tests/delivery/test_away.py",
    ),
    Mutant(
        "a sweep comes before the outcomes that wait",
        "realtime_bridge/worker/sweeper.py",
        "return max(self._deadline, self._condition.settle_until, self._settle_first())",
        "return self._deadline",
        "tests/unit/test_pump.py",
    ),
    Mutant(
        "a late fence is good enough",
        "realtime_bridge/telegram/sender.py",
        "if laps.seconds > self._start_limit:",
        "if False:",
        "tests/delivery/test_sender.py",
    ),
    Mutant(
        "a timeout is taken for a failure to connect",
        "realtime_bridge/telegram/verdict.py",
        "aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError",
        "aiohttp.ClientError | TimeoutError",
        CHAOS,
    ),
    Mutant(
        "messages are counted from their turn",
        "realtime_bridge/telegram/pacing.py",
        "self._even_at = max(self._even_at, now + self._interval)",
        "pass",
        "tests/unit/test_pacing.py",
    ),
]


@click.command()
@click.argument("words", nargs=-1)
def main(words: tuple[str, ...]) -> None:
    """Try all mutants, or those with one of these words in their name."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    alive = [mutant.name for mutant in chosen if not found(mutant)]
    for name in alive:
        click.echo(f"NOT FOUND: {name}")
    sys.exit(1 if alive else 0)


def found(mutant: Mutant) -> bool:
    """Whether the tests pass without it and fail with it."""
    if not passes(mutant.tests):
        click.echo(f"the tests fail anyway: {mutant.tests}")
        return False
    text = (ROOT / mutant.file).read_text()
    if mutant.old not in text:
        click.echo(f"there is no such place any more: {mutant.name}")
        return False
    started = time.monotonic()
    alive = passes(mutant.tests, mutant.file, text.replace(mutant.old, mutant.new))
    seconds = time.monotonic() - started
    verdict = "alive" if alive else "found"
    click.echo(f"{verdict}  {mutant.name}  ({mutant.tests}, {seconds:.0f} s)")
    return not alive


@cache
def passes(tests: str, file: str = "", text: str = "") -> bool:
    """Whether tests pass in a copy of the tree, in which a file may have another text."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        tree = Path(scratch)
        copy(tree)
        if file:
            (tree / file).write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            check=False,
        )
    return done.returncode == 0


def copy(tree: Path) -> None:
    """Copy what the tests need; programs are shared."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    (tree / "node_modules").symlink_to(ROOT / "node_modules")


if __name__ == "__main__":
    main()
