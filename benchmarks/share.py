"""Part 13: how much of a message's CPU is the bridge's own.

The lane of events runs with a database that costs nothing: once whole, once with a call that
returns at once in place of aiogram's. Instructions, which callgrind counts, are the same on a busy
machine and can be compared with another one's.
"""

import asyncio
import json
import os
import re
import shutil
import sys
from collections import defaultdict
from typing import Any

from benchmarks.numbers import median, spread, table, verdict
from benchmarks.sections import SECTIONS
from benchmarks.stage import ROOT, Stage

WHOLE, OURS = "whole", "ours"
LIMIT = 0.33
QUICK: dict[str, Any] = {"rounds": 1, "rows": 500, "counted": 0}
_COLLECTED = re.compile(r"Collected : (\d+)")


async def run(rounds: int = 5, rows: int = 5000, counted: int = 500) -> dict[str, Any]:
    """Measure `rows` messages in each round, and count the instructions of `counted`."""
    microseconds: dict[str, list[float]] = defaultdict(list)
    instructions: dict[str, float] = {}
    async with Stage() as stage:
        for _ in range(rounds):
            for what in (WHOLE, OURS):
                said = await _send(stage, what, rows)
                microseconds[what].append(json.loads(said)["microseconds"])
        if counted and shutil.which("valgrind"):
            for what in (WHOLE, OURS):
                said = await _send(stage, what, counted, *_callgrind(stage))
                found = _COLLECTED.search(said)
                if found is None:
                    raise RuntimeError(f"callgrind counted nothing:\n{said[-2000:]}")
                instructions[what] = int(found[1]) / counted
    return {"microseconds": microseconds, "instructions": instructions}


def _callgrind(stage: Stage) -> tuple[str, ...]:
    """It is switched on by the worker, when it is warm."""
    output = stage.scratch("callgrind.out")
    return (
        "valgrind",
        "--tool=callgrind",
        "--instr-atstart=no",
        f"--callgrind-out-file={output}",
    )


async def _send(stage: Stage, what: str, rows: int, *around: str) -> str:
    """Run the worker; return what it and the program around it say."""
    env = {**os.environ, **stage.settings(), "PYTHONPATH": str(ROOT), "ROWS": str(rows)}
    env["TELEGRAM_API_URL"] = stage.exact_sink
    env["WHAT"] = what
    if around:
        env["COUNT"] = "1"
    log = stage.scratch("share.log")
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *around,
            sys.executable,
            "-m",
            "benchmarks.workers.message",
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    told = log.read_text(errors="replace")
    if process.returncode:
        raise RuntimeError(f"ended too early:\n{told[-3000:]}")
    await stage.arrivals()
    return said.decode() + (told if around else "")


def report(result: dict[str, Any]) -> str:
    """The table, and what must hold."""
    (head,) = SECTIONS["share"].tables
    rows, verdicts = [], []
    spent = result["microseconds"]
    share = median(spent[OURS]) / median(spent[WHOLE])
    rows.append(
        ["CPU, microseconds", *(spread(spent[what]) for what in (WHOLE, OURS)), f"{share:.2f}"]
    )
    verdicts.append(verdict("our share of a message's CPU time", share, LIMIT, least=False))
    if counted := result["instructions"]:
        share = counted[OURS] / counted[WHOLE]
        cells = (f"{counted[what] / 1000:.0f}" for what in (WHOLE, OURS))
        rows.append(["instructions, thousands", *cells, f"{share:.2f}"])
        verdicts.append(verdict("our share of a message's instructions", share, LIMIT, least=False))
    return "\n".join([table(head, rows), "", *verdicts])
