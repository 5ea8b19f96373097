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
HEADS = "supabase/migrations/20261101000160_tma_event_heads.sql"
TURNS = "supabase/migrations/20261101000180_take_tma_events.sql"
WITHDRAW = "supabase/migrations/20261101010400_withdraw_tma_event.sql"
VERDICT = "realtime_bridge/telegram/verdict.py"
COURIER = "tests/delivery/test_sender.py"


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
        "            raise\n        rows = claim.rows",
        "            raise\n        self._schedule.take()\n        rows = claim.rows",
        "tests/unit/test_pump.py",
    ),
    Mutant(
        "what may have been sent is sent again",
        "realtime_bridge/worker/settling.py",
        "if policy.delivery is Delivery.AT_MOST_ONCE:",
        "if False:",
        CHAOS,
    ),
    Mutant(
        "a claim takes any row of a chat",
        HEADS,
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
        "if stopwatch.age > self._start_limit:",
        "if False:",
        COURIER,
    ),
    Mutant(
        "a timeout is taken for a failure to connect",
        VERDICT,
        "aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError",
        "aiohttp.ClientError | TimeoutError",
        CHAOS,
    ),
    Mutant(
        "messages are counted from their turn",
        SETTLE,
        "or o.status = 'delivered' then clock_timestamp()",
        "or o.status = 'delivered' then e.send_started_at - interval '10 seconds'",
        "tests/sql/test_pace.py",
    ),
    Mutant(
        "a row does not wait for its turn",
        "realtime_bridge/telegram/sender.py",
        "await asyncio.sleep(max(event.turn_in - stopwatch.seconds, 0.0))",
        "await asyncio.sleep(0)",
        COURIER,
    ),
    Mutant(
        "all turns are now",
        TURNS,
        "p_first + p_step * (row_number() over (",
        "p_first + '0'::interval * (row_number() over (",
        "tests/sql/test_pace.py",
    ),
    Mutant(
        "a claim that is asked again takes new rows",
        TURNS,
        "on conflict (key) do nothing;\n    if found then",
        "on conflict (key) do nothing;\n    if true then",
        "tests/sql/test_claim_keys.py",
    ),
    Mutant(
        "a claim that was not answered is forgotten",
        "realtime_bridge/worker/keyed_claim.py",
        "self._unanswered or _Unanswered",
        "_Unanswered",
        "tests/delivery/test_away.py",
    ),
    Mutant(
        "a started row is handed back although it may have been sent",
        "realtime_bridge/telegram/sender.py",
        "return _token(event) not in self._posting",
        "return True",
        COURIER,
    ),
    Mutant(
        "bulk is starved",
        TURNS,
        "(-1)::smallint, greatest(v_left, p_bulk), p_now, p_pace",
        "(-1)::smallint, v_left, p_now, p_pace",
        "tests/sql/test_priority.py",
    ),
    Mutant(
        "a digest settles only its first row",
        SETTLE,
        "v_all constant bigint[] := bridge.with_gathered(v_ids);",
        "v_all constant bigint[] := v_ids;",
        "tests/sql/test_digest.py",
    ),
    Mutant(
        "an edit without an answer is uncertain",
        VERDICT,
        'return Retry(f"perhaps edited: {why}", cause=Cause.UNCERTAIN)',
        "return outcome",
        "tests/unit/test_verdict.py",
    ),
    Mutant(
        "an edit whose worker went away is uncertain",
        "supabase/migrations/20261101000500_recover_tma_events.sql",
        "e.started and e.edits = 0 as in_doubt",
        "e.started as in_doubt",
        "tests/sql/test_in_place.py",
    ),
    Mutant(
        "'message is not modified' is a failure",
        VERDICT,
        "return Sent(message_id)",
        "return Failed(Failure.REJECTED, text)",
        "tests/unit/test_verdict.py",
    ),
    Mutant(
        "an edit that is lost is tried for ever",
        SETTLE,
        "when o.status = 'pending' and o.edit_lost and e.replaces is not null then 0",
        "when false then 0",
        "tests/sql/test_in_place.py",
    ),
    Mutant(
        "a muted row is sent",
        HEADS,
        "when head.event_type = any (own.muted) then 'muted'",
        "when false then 'muted'",
        "tests/sql/test_keep_back.py",
    ),
    Mutant(
        "withdraw takes what is claimed",
        WITHDRAW,
        """if v_event.status = 'pending' and v_event.attempt = 0 then
        perform bridge.check_unsent""",
        """if v_event.settled_at is null then
        perform bridge.check_unsent""",
        "tests/sql/test_withdraw.py",
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
