"""Part 3: what the bridge costs when idle, and how soon it is ready."""

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import aiohttp

from benchmarks import usage
from benchmarks.numbers import median, spread, table, verdict
from benchmarks.sections import SECTIONS
from benchmarks.stage import Child, Stage, until
from tma_sandbox.process import free_port

# Prints its memory after importing aiogram, and nothing else.
_IMPORT = """
import time; begin = time.time()
import aiogram
import re
rss = re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())
print(f'{{"rss_mb": {int(rss[1]) * 1024 / 1e6}}}')
"""

QUICK: dict[str, Any] = {"rounds": 1, "seconds": 10.0}


async def run(rounds: int = 3, seconds: float = 600.0) -> dict[str, Any]:
    """Start both `rounds` times in turns, then watch an idle bridge for `seconds`."""
    imports: list[dict[str, float]] = []
    starts: list[dict[str, float]] = []
    async with Stage() as stage:
        for _ in range(rounds):
            imports.append(await asyncio.to_thread(_import))
            starts.append(await _start(stage))
        idle = await _idle(stage, seconds)
    return {"imports": imports, "starts": starts, "idle": idle}


def _import() -> dict[str, float]:
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
    )
    return {"seconds": time.monotonic() - begin, **json.loads(done.stdout)}


async def _start(stage: Stage) -> dict[str, float]:
    """Seconds from the start until /readyz answers 200, and until a bell rings."""
    port = free_port()
    begin = time.monotonic()
    async with stage.worker("plain_bridge", HTTP_PORT=str(port), PLANNER="") as child:
        await _ready(port)
        ready = time.monotonic() - begin
        await child.says("doorbell_ready")
        return {
            "seconds": ready,
            "doorbell_seconds": time.monotonic() - begin,
            "rss_mb": usage.rss_mb(child.pid),
        }


async def _ready(port: int) -> None:
    async with aiohttp.ClientSession() as session:

        async def ready() -> bool:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await until(ready)


async def _idle(stage: Stage, seconds: float) -> dict[str, float]:
    """Cost per minute with a healthy doorbell, both lanes and default settings."""
    async with stage.worker("plain_bridge", PLANNER="") as child:
        await child.says("doorbell_ready")
        await _settled(child)
        meter, begin = stage.meter(worker=child.pid), time.time()
        await asyncio.sleep(seconds)
        cpu, took = meter.read(), time.time() - begin
        requests = stage.nginx.requests(begin)
        return {
            "seconds": took,
            "requests_per_minute": len(requests) * 60 / took,
            "worker_core_percent": cpu["worker"] / took * 100,
            "rss_mb": usage.rss_mb(child.pid),
        }


async def _settled(child: Child) -> None:
    """Wait until the start is over: both bells, and the first sweeps."""
    await asyncio.sleep(5)
    if "error" in child.output():
        raise RuntimeError(child.output())


def report(result: dict[str, Any]) -> str:
    """The tables and the verdicts."""
    imports, starts, idle = result["imports"], result["starts"], result["idle"]
    bridge_s = [one["seconds"] for one in starts]
    import_s = [one["seconds"] for one in imports]
    bridge_mb, import_mb = ([one["rss_mb"] for one in part] for part in (starts, imports))
    later = [ours - theirs for ours, theirs in zip(bridge_s, import_s, strict=True)]
    bell = [one["doorbell_seconds"] for one in starts]
    by_start, by_number = SECTIONS["idle"].tables
    rows = [
        ["python -c 'import aiogram'", spread(import_s, 2), "-", spread(import_mb)],
        ["bridge, both lanes", spread(bridge_s, 2), spread(bell, 2), spread(bridge_mb)],
    ]
    numbers = [[name.replace("_", " "), f"{value:.2f}"] for name, value in idle.items()]
    return "\n".join(
        [
            table(by_start, rows),
            "",
            table(by_number, numbers),
            "",
            verdict("seconds to ready beyond the import", median(later), 1.5, least=False),
            verdict(
                "RSS MB when idle beyond the import",
                idle["rss_mb"] - median(import_mb),
                25,
                least=False,
            ),
            verdict("idle requests a minute", idle["requests_per_minute"], 2, least=False),
            verdict("idle percent of a core", idle["worker_core_percent"], 0.5, least=False),
        ]
    )
